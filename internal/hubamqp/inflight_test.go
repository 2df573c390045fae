package hubamqp_test

import (
	"context"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/navetest"
)

// A link whose name is live with unsettled deliveries is refused with 412004,
// and the live one goes on; once they are settled the name is free
// (hub-semantics 20).
func TestInflightMessagesInLink(t *testing.T) {
	k := navetest.Start(t)
	d := k.Device("d1")
	p := device(t, k, d)
	same := attachment{name: "same", session: p.Begin(), snd: amqp.SettleMixed}
	link := p.receiver(commands(d), same)
	if err := k.Backend.SendToDevice(context.Background(), &nave.C2D{On: d.ID, Message: nave.Message{Body: []byte("m")}}); err != nil {
		t.Fatal(err)
	}
	m, _ := link.next()
	p.refused(amqp.RoleReceiver, commands(d), "amqp:not-allowed", same)
	link.attached()
	m.Accept()
	link.attached()
	p.receiver(commands(d), same)
}
