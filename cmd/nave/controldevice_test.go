package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// command runs a command line and returns stdout.
func (s *stage) command(t *testing.T, code int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var out, stderr bytes.Buffer
	if got := runContext(ctx, args, newEnv(strings.NewReader(""), &out, &stderr)); got != code {
		t.Fatalf("%v: exit code %d, want %d: %s %s", args, got, code, &out, &stderr)
	}
	return out.String()
}

// TestTranscript runs what control-device create prints, as it is printed,
// while control-device set waits for the device.
func TestTranscript(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	s := newStage(t)
	script := s.command(t, 0, "control-device", "create", "--label", "boiler")
	id := regexp.MustCompile(`CLIENT_ID=(\S+)`).FindStringSubmatch(script)[1]
	command := regexp.MustCompile(`COMMAND=(\S+)`).FindStringSubmatch(script)[1]
	sensor := regexp.MustCompile(`SENSOR=(\S+)`).FindStringSubmatch(script)[1]
	shell := func() string {
		out, err := exec.Command("sh", "-c", script).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	out := shell()
	for _, want := range []string{`"catalog_revision"`, `"status":"created"`, `"desired_states":[]`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in %s", want, out)
		}
	}
	followed := make(chan string, 1)
	go func() {
		var out bytes.Buffer
		runContext(context.Background(), []string{"control-device", "set", id, command, "1", "--wait", "2m", "-o", "json"}, newEnv(strings.NewReader(""), &out, &out))
		followed <- out.String()
	}()
	pending := func() bool {
		d, err := s.Node.Control(s.Hub.Host()).Find(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		all, err := d.Pending(context.Background())
		return err == nil && len(all) > 0
	}
	for end := time.Now().Add(time.Minute); !pending(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing is asked for")
		}
	}
	if out = shell(); !strings.Contains(out, `"sequence_number":1`) || strings.Count(out, `"status":"created"`) != 2 {
		t.Errorf("with a desired state: %s", out)
	}
	var end desiredAnswer
	if text := <-followed; json.Unmarshal([]byte(text), &end) != nil || end.Status != "applied" || end.Reported != "1" {
		t.Errorf("set printed %s", text)
	}
	if text := s.command(t, 0, "control-device", "show", id); !strings.Contains(text, "boiler") || !strings.Contains(text, "21.5") || !strings.Contains(text, "yes") {
		t.Errorf("show: %s", text)
	}
	if text := s.command(t, 0, "control-device", "history", id, sensor); strings.Count(text, "21.5") != 2 {
		t.Errorf("history: %s", text)
	}
}

// TestTranscriptMQTT does it for a device that speaks MQTT only.
func TestTranscriptMQTT(t *testing.T) {
	for _, tool := range []string{"curl", "mosquitto_rr"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	s := newStage(t)
	script := s.command(t, 0, "control-device", "create", "--protocol", "mqtt")
	// No name server knows the host of the test's hub.
	script = strings.Replace(script, `-h "${BROKER%:*}"`, "-h localhost", 1)
	out, err := exec.Command("sh", "-c", script).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"status":"created"`) || strings.Contains(string(out), `"error"`) {
		t.Errorf("%v: %s", err, out)
	}
}

// TestControlDevice plays the rest of the commands.
func TestControlDevice(t *testing.T) {
	s := newStage(t)
	s.command(t, 2, "control-device", "create", "--command", "relay:boolean") // no values that firmware could get
	script := s.command(t, 0, "control-device", "create", "--command", "valve:0..100", "--sensor", "meter", "--plan", "starter", "--plan-value", "feed.burst=9")
	id := regexp.MustCompile(`CLIENT_ID=(\S+)`).FindStringSubmatch(script)[1]
	command := regexp.MustCompile(`COMMAND=(\S+)`).FindStringSubmatch(script)[1]
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"list"}, id},
		{[]string{"disable", id}, "disabled"},
		{[]string{"enable", id}, "enabled"},
		{[]string{"subscription", id, "inactive"}, "inactive"},
		{[]string{"subscription", id, "active", "--until", "2099-01-01T00:00:00Z"}, "until"},
		{[]string{"sensor", id, "hygrometer:percent:0"}, "sen_"},
		{[]string{"command", id, "lamp:text", "--value", "off"}, "cmd_"},
		{[]string{"set", id, command, "55", "--wait", "0"}, "pending"},
		{[]string{"show", id}, "hygrometer"},
		{[]string{"remove", id, command}, ""},
		{[]string{"delete", id}, ""},
	} {
		if out := s.command(t, 0, append([]string{"control-device"}, c.args...)...); !strings.Contains(out, c.want) {
			t.Errorf("%v: %q is not in %s", c.args, c.want, out)
		}
	}
	if secret := regexp.MustCompile(`^[A-Za-z0-9_-]{43}\s*$`); true {
		script = s.command(t, 0, "control-device", "create")
		id = regexp.MustCompile(`CLIENT_ID=(\S+)`).FindStringSubmatch(script)[1]
		if out := s.command(t, 0, "control-device", "rotate", id); !secret.MatchString(out) || strings.Contains(script, strings.TrimSpace(out)) {
			t.Errorf("rotate: %q", out)
		}
	}
	s.command(t, 1, "control-device", "show", "cdv_00000000000000000000000000")
	s.command(t, 1, "control-device", "set", id, "cmd_00000000000000000000000000", "1")
	s.command(t, 1, "control-device", "create", "--plan", "gold")
	s.command(t, 2, "control-device", "create", "--plan-value", "feed.burst")
}

// TestBenchFeed measures for a moment.
func TestBenchFeed(t *testing.T) {
	s := newStage(t)
	var found feedResults
	out := s.command(t, 0, "bench", "feed", "-c", "2", "--batch", "5", "-t", "200ms", "--warmup", "0s", "-o", "json")
	if err := json.Unmarshal([]byte(out), &found); err != nil || found.Single == nil || found.Single.Answered == 0 || found.Batch.Answered == 0 || found.Batch.Answered%5 != 0 || found.Echo.Answered == 0 || found.EchoBatch.Answered == 0 {
		t.Errorf("%v: %s", err, out)
	}
	left, err := s.Node.Control(s.Hub.Host()).List(context.Background(), "", 10)
	if err != nil || len(left) != 0 {
		t.Errorf("%d control devices are left, %v", len(left), err)
	}
}
