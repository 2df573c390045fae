package node_test

import (
	"context"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/navetest"
)

func TestWalk(t *testing.T) {
	k := navetest.Start(t)
	d := k.Device("d1")
	acked := make(chan uint16, 1)
	c := d.Connect(mqtt.ClientHandler{Acked: func(id uint16) { acked <- id }})
	if err := c.Publish(&mqtt.Publish{Topic: "devices/d1/messages/events/k=v", Payload: []byte(`{"t":21}`), QoS: 1, ID: 7}); err != nil {
		t.Fatal(err)
	}
	select {
	case id := <-acked:
		if id != 7 {
			t.Errorf("PUBACK %d", id)
		}
	case <-time.After(patience):
		t.Fatal("no PUBACK")
	}
	e := k.Events(1, func(e *nave.Event) bool { return e.Source == nave.Telemetry })[0]
	if string(e.Body) != `{"t":21}` || e.From.Device != "d1" {
		t.Errorf("event %+v", e)
	}
	i, err := k.Backend.Device(context.Background(), d.ID)
	if err != nil || !i.Presence.Connected {
		t.Errorf("presence %+v, %v", i, err)
	}
	if r := k.REST("GET", "/devices/d1", ""); r.Status != 200 {
		t.Errorf("GET device: %d %s", r.Status, r.Body)
	}
}
