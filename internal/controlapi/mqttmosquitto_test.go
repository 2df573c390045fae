package controlapi_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func needMosquitto(t *testing.T) {
	if _, err := exec.LookPath("mosquitto_pub"); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("mosquitto_pub is missing: apt-get install mosquitto-clients")
	}
	t.Skip("mosquitto_pub is missing: apt-get install mosquitto-clients")
}

// mosquitto prepares a client of mosquitto-clients with the device's tuple.
func (d *device) mosquitto(t *testing.T, version, password, tool string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, tool, append([]string{"-h", "localhost", "-p", d.b.port, "--cafile", d.b.Node.CAFile(), "-V", version, "-i", d.id, "-u", d.id, "-P", password}, args...)...)
}

// TestMosquitto: a client that knows nothing of us publishes, gets its
// acknowledgement and a desired state, and sees its refusals.
func TestMosquitto(t *testing.T) {
	needMosquitto(t)
	b := openBroker(t)
	for _, version := range []string{"mqttv311", "mqttv5"} {
		t.Run(version, func(t *testing.T) {
			d := b.device(t)
			password := d.credential(t, d.token(t))
			t.Run("IOT-172 IOT-178 IOT-195 connect, publish, acknowledgement, desired state", func(t *testing.T) {
				wish, err := b.control.Set(t.Context(), d.id, d.C1, "1", "test")
				if err != nil {
					t.Fatal(err)
				}
				text, err := d.mosquitto(t, version, password, "mosquitto_sub", "-q", "1", "-t", d.desiredTopic(t, d.C1), "-C", "1", "-F", "%t %r %p").CombinedOutput()
				var v map[string]any
				payload, ok := strings.CutPrefix(string(text), d.desiredTopic(t, d.C1)+" 0 ")
				if err != nil || !ok || json.Unmarshal([]byte(payload), &v) != nil || v["desired_id"] != wish.ID {
					t.Errorf("%s, %v", text, err)
				}
				// One connection subscribes, publishes, and waits for the answer.
				text, err = d.mosquitto(t, version, password, "mosquitto_rr", "-q", "1", "-t", d.feedTopic(t, d.S1), "-e", d.ackTopic(), "-m", i0, "-W", "60").CombinedOutput()
				if err != nil || closedSchema("mqtt-feed-data-ack", text) != nil || json.Unmarshal(text, &v) != nil {
					t.Fatalf("%s, %v", text, err)
				}
				accepted(t, v, "created")
				text, err = d.mosquitto(t, version, password, "mosquitto_pub", "-q", "1", "-t", d.feedTopic(t, d.S2), "-m", i0).CombinedOutput()
				if items, e := b.control.History(t.Context(), d.id, d.S2, 0, 10); err != nil || e != nil || len(items) != 1 {
					t.Errorf("%s, %v; %d items", text, err, len(items))
				}
			})
			t.Run("IOT-174 IOT-189 refusals", func(t *testing.T) {
				text, err := d.mosquitto(t, version, "wrong", "mosquitto_pub", "-t", d.feedTopic(t, d.S1), "-m", i0).CombinedOutput()
				if err == nil || !strings.Contains(strings.ToLower(string(text)), "bad user name or password") {
					t.Errorf("%s, %v", text, err)
				}
				text, _ = d.mosquitto(t, version, password, "mosquitto_sub", "-d", "-t", "#", "-E").CombinedOutput()
				if want := map[string]string{"mqttv311": "Subscribed (mid: 1): 128", "mqttv5": "Subscribed (mid: 1): 135"}[version]; !strings.Contains(string(text), want) {
					t.Errorf("%s", text)
				}
			})
			t.Run("IOT-188 publish on a topic of D2", func(t *testing.T) {
				other := b.device(t)
				text, err := d.mosquitto(t, version, password, "mosquitto_pub", "-d", "-q", "1", "-t", other.feedTopic(t, other.S1), "-m", i0).CombinedOutput()
				if version == "mqttv5" && !strings.Contains(string(text), "RC:135") || version != "mqttv5" && err == nil && strings.Contains(string(text), "PUBACK") {
					t.Errorf("%s, %v", text, err)
				}
				if items, err := b.control.History(t.Context(), other.id, other.S1, 0, 10); err != nil || len(items) > 0 {
					t.Errorf("%d items, %v", len(items), err)
				}
			})
		})
	}
}
