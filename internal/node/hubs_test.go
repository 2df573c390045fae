package node_test

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/node"
)

// second adds a hub with a name and a tier of its own.
func second(c *node.Config) {
	h := c.Hub
	h.Host, h.Aliases, h.SKU = "second.test", []string{"gw.second.test"}, "S2"
	c.Hubs = []node.Hub{h}
}

// TestTwoHubs runs two hubs in one process, each with a device of the same name.
func TestTwoHubs(t *testing.T) {
	t.Parallel()
	k := navetest.Start(t, second)
	one, two := k.At(0), k.At(1)
	d1, d2 := one.Device("d1"), two.Device("d1")

	dialled := func(name string, d *navetest.Device) (*client, error) {
		c := k.TLS()
		c.ServerName = name
		nc, err := tls.Dial("tcp", k.Node.Address("mqtt"), c)
		if err != nil {
			t.Fatal(err)
		}
		return dial(t, nc, d)
	}
	t.Run("MQTT by name", func(t *testing.T) {
		for _, test := range []struct {
			name string
			d    *navetest.Device
			body string
		}{
			{"hub.test", d1, "one by its name"},
			{"second.test", d2, "two by its name"},
			{"gw.second.test", d2, "two by its alias"},
			{"localhost", d2, "two by a name of the first"},
			{"127.0.0.1", d2, "two without SNI"},
			{"second.test", d1, "one by the name of the second"},
		} {
			c, err := dialled(test.name, test.d)
			if err != nil {
				t.Errorf("%s: %v", test.body, err)
				continue
			}
			c.send("d1", 1, test.body)
			c.Close()
		}
	})
	t.Run("events", func(t *testing.T) {
		for _, h := range []struct {
			k *navetest.Kit
			n int
			s string
		}{{one, 2, "one"}, {two, 4, "two"}} {
			for _, e := range h.k.Events(h.n, telemetry) {
				if !strings.HasPrefix(string(e.Body), h.s) {
					t.Errorf("hub %s has the event %q", h.s, e.Body)
				}
			}
		}
	})
	t.Run("unknown hub", func(t *testing.T) {
		nc := k.DialMQTT()
		_, err := dial(t, nc, d1, func(o *mqtt.ClientOptions) { o.Username = strings.Replace(o.Username, "hub.test", "third.test", 1) })
		var refused *mqtt.RefusedError
		if !errors.As(err, &refused) {
			t.Errorf("%v", err)
		}
		if r := k.REST("GET", "/devices/d1", "", "Host: third.test"); r.Status != 404 || r.Header.Get("Iothub-Errorcode") != "IotHubNotFound" {
			t.Errorf("HTTPS: %d %s", r.Status, r.Body)
		}
	})
	t.Run("credentials", func(t *testing.T) {
		// A key of one hub opens nothing at the other.
		c := two.DialMQTT()
		if _, err := dial(t, c, d1, func(o *mqtt.ClientOptions) { o.Username = d2.Username() }); err == nil {
			t.Error("a device's token of the first hub works at the second")
		}
		if r := two.REST("GET", "/devices/d1", "", "Authorization: "+one.Policy("iothubowner")); r.Status != 401 {
			t.Errorf("a policy of the first hub at the second: %d", r.Status)
		}
		a, _ := one.Hub.Policy("service")
		b, _ := two.Hub.Policy("service")
		if a.Primary == b.Primary {
			t.Error("both have the same keys")
		}
	})
	t.Run("registry", func(t *testing.T) {
		one.Device("only1")
		if r := two.REST("GET", "/devices/only1", ""); r.Status != 404 {
			t.Errorf("%d %s", r.Status, r.Body)
		}
		if r := two.REST("PATCH", "/twins/d1", `{"tags":{"of":"two"}}`); r.Status != 200 {
			t.Errorf("%d %s", r.Status, r.Body)
		}
		if r := one.REST("GET", "/twins/d1", ""); strings.Contains(string(r.Body), "two") {
			t.Errorf("%s", r.Body)
		}
	})
}

// TestTwoHubsLive has both devices of one name connected.
func TestTwoHubsLive(t *testing.T) {
	k := navetest.Start(t, second)
	one, two := k.At(0), k.At(1)
	d1, d2 := one.Device("d1"), two.Device("d1")
	ctx := context.Background()
	t.Run("connections", func(t *testing.T) {
		c := connect(t, one, d1)
		other := connect(t, two, d2) // takes nothing from the first
		c.subscribe("devices/d1/messages/devicebound/#")
		other.subscribe("devices/d1/messages/devicebound/#")
		if err := two.Backend.SendToDevice(ctx, &nave.C2D{On: d2.ID, Message: nave.Message{Body: []byte("two")}}); err != nil {
			t.Fatal(err)
		}
		if got := await(t, other.got, "message"); got.body != "two" {
			t.Errorf("%+v", got)
		}
		c.send("d1", 9, "one still there")
		if len(c.got) > 0 {
			t.Errorf("the other hub's device got %+v", <-c.got)
		}
	})
	t.Run("own settings", func(t *testing.T) {
		if a, b := one.Hub.Gate().Tier().SKU, two.Hub.Gate().Tier().SKU; a != "S1" || b != "S2" {
			t.Errorf("%s and %s", a, b)
		}
	})
}
