package node_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/node"
)

func TestRestart(t *testing.T) {
	conf := navetest.Configure(t)
	k := navetest.Run(t, conf)
	ctx := context.Background()
	d := k.Device("d1")
	k.Device("d1/m1")
	c := connect(t, k, d)
	c.subscribe("devices/d1/messages/devicebound/#")
	for n := range 5 {
		c.send("d1", uint16(n+1), fmt.Sprint("event ", n))
	}
	if r := k.REST("PATCH", "/twins/d1", `{"tags":{"floor":3},"properties":{"desired":{"on":true}}}`); r.Status != 200 {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
	twin := k.REST("GET", "/twins/d1", "")
	before := positions(k.Events(5, telemetry))
	owner, _ := k.Hub.Policy("iothubowner")
	name := presenceNode(t, k, d)
	c.Kill()
	until(t, "the device is gone", func() bool { return k.Hub.Connections() == 0 })
	if err := k.Backend.SendToDevice(ctx, &nave.C2D{On: d.ID, Message: nave.Message{Body: []byte("queued")}}); err != nil {
		t.Fatal(err)
	}
	k.Close()

	k = navetest.Run(t, conf)
	again := positions(k.Events(5, telemetry))
	if !slices.Equal(before, again) {
		t.Errorf("events before %v\nand after %v", before, again)
	}
	i, err := k.Backend.Device(ctx, d.ID)
	if err != nil || i.Auth.Primary != d.Key || i.Presence.Connected {
		t.Errorf("identity %+v, %v", i, err)
	}
	if r := k.REST("GET", "/devices/d1/modules/m1", ""); r.Status != 200 {
		t.Errorf("module: %d %s", r.Status, r.Body)
	}
	r := k.REST("GET", "/twins/d1", "")
	if a, b := tagsOn(twin), tagsOn(r); a != b || !strings.Contains(a, `"floor":3`) {
		t.Errorf("twin before %s\nand after %s", a, b)
	}
	if p, _ := k.Hub.Policy("iothubowner"); p != owner {
		t.Error("the policy has other keys")
	}
	// The session knows the subscription: the message comes without another one.
	c = connect(t, k, d)
	if !c.present {
		t.Error("CONNACK without session")
	}
	if got := await(t, c.got, "queued message"); got.body != "queued" {
		t.Errorf("%+v", got)
	}
	c.send("d1", 9, "event after the restart")
	if p := presenceNode(t, k, d); p != name {
		t.Errorf("the node is called %s, it was %s", p, name)
	}
	events := k.Events(6, telemetry)
	last := events[slices.IndexFunc(events, func(e *nave.Event) bool { return strings.HasPrefix(string(e.Body), "event after") })]
	for _, e := range events {
		if e != last && e.Partition == last.Partition && e.Seq >= last.Seq {
			t.Errorf("the new event has number %d, an old one %d", last.Seq, e.Seq)
		}
	}
}

func positions(events []*nave.Event) (all []string) {
	for _, e := range events {
		all = append(all, fmt.Sprintf("%d/%d %s", e.Partition, e.Seq, e.Body))
	}
	slices.Sort(all)
	return all
}

// tagsOn returns a twin from its tags on: what stands before tells of the
// connection.
func tagsOn(r *navetest.Response) string {
	_, text, _ := strings.Cut(string(r.Body), `"tags"`)
	return text
}

func presenceNode(t *testing.T, k *navetest.Kit, d *navetest.Device) string {
	t.Helper()
	return presence(t, k, d).Node
}

// TestShutdown closes a node while all kinds of things are under way.
func TestShutdown(t *testing.T) {
	conf := navetest.Configure(t)
	leak := goleak.IgnoreCurrent()
	k := navetest.Run(t, conf)
	k.Device("idle")
	dialler := &net.Dialer{}
	for _, listener := range []string{"mqtt", "https", "amqp", "console"} { // open and silent
		nc, err := dialler.Dial("tcp", k.Node.Address(listener))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	for _, listener := range []string{"mqtt", "https", "amqp"} { // silent after the handshake
		nc, err := tls.Dial("tcp", k.Node.Address(listener), k.TLS())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	for _, protocol := range []string{"mqtt", "AMQPWSB10"} { // silent after the upgrade
		ws, _, err := upgrade(k, "/$iothub/websocket", protocol)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
	}

	var acked sync.Map
	var work sync.WaitGroup
	busy := make(chan struct{}, 100)
	for n := range 8 {
		d := k.Device(fmt.Sprint("d", n))
		var mu sync.Mutex
		sent := map[uint16]string{}
		window := make(chan struct{}, 20)
		c, _, err := mqtt.Open(k.DialMQTT(), mqtt.ClientOptions{ClientID: d.ID.String(), Username: d.Username(), Password: []byte(d.Token()), KeepAlive: 60},
			mqtt.ClientHandler{Acked: func(id uint16) {
				mu.Lock()
				defer mu.Unlock()
				acked.Store(sent[id], true)
				<-window
				select {
				case busy <- struct{}{}:
				default:
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		work.Go(func() {
			for id := uint16(1); id < 60000; id++ {
				select {
				case window <- struct{}{}:
				case <-c.Done():
					return
				}
				body := fmt.Sprintf("%s-%d", d.ID, id)
				mu.Lock()
				sent[id] = body
				mu.Unlock()
				if c.Publish(&mqtt.Publish{Topic: "devices/" + d.ID.Device + "/messages/events/", Payload: []byte(body), QoS: 1, ID: id}) != nil {
					break
				}
			}
			<-c.Done()
		})
	}
	// A method call that nobody will answer.
	d := k.Device("deaf")
	deaf := connect(t, k, d)
	deaf.subscribe("$iothub/methods/POST/#")
	work.Go(func() { invoke(k, d, 0) })
	await(t, deaf.got, "method call")
	for range 100 {
		await(t, busy, "acknowledgement")
	}

	from := time.Now()
	k.Close()
	took := time.Since(from)
	work.Wait()
	await(t, deaf.closed, "end of the connection")
	if err := left(leak); err != nil {
		t.Error(err)
	}

	want := 0
	acked.Range(func(any, any) bool { want++; return true })
	k = navetest.Run(t, conf)
	k.Events(want, func(e *nave.Event) bool {
		_, ok := acked.LoadAndDelete(string(e.Body))
		return ok
	})
	t.Logf("%d acknowledged events are all there, closing took %v", want, took)
}

func TestCertificateNames(t *testing.T) {
	conf := navetest.Configure(t, func(c *node.Config) {
		c.Hub.Aliases = []string{"gateway.test"}
		c.TLS.Names = []string{"extra.test", "192.0.2.7"}
		second := c.Hub
		second.Host, second.Aliases = "second.test", nil
		c.Hubs = []node.Hub{second}
	})
	names := []string{"hub.test", "gateway.test", "second.test", "extra.test", "192.0.2.7", "localhost", "127.0.0.1", "::1"}
	k := navetest.Run(t, conf)
	check := func(names ...string) (serials string) {
		t.Helper()
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			c := k.TLS()
			c.MinVersion, c.MaxVersion = version, version
			leaf := handshake(t, k, "https", c).PeerCertificates[0]
			for _, n := range names {
				if err := leaf.VerifyHostname(n); err != nil {
					t.Error(err)
				}
			}
			serials += leaf.SerialNumber.String() + " "
		}
		return serials
	}
	first := check(names...)
	k.Close()
	ca, err := os.ReadFile(filepath.Join(conf.Data, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}

	k = navetest.Run(t, conf)
	if again := check(names...); again != first {
		t.Error("the certificate is new although no name has changed")
	}
	k.Close()

	conf.TLS.Names = append(conf.TLS.Names, "late.test")
	k = navetest.Run(t, conf)
	if again := check(append(names, "late.test")...); again == first {
		t.Error("the certificate is the old one")
	}
	if now, _ := os.ReadFile(filepath.Join(conf.Data, "ca.pem")); string(now) != string(ca) {
		t.Error("the CA is new: clients would have to trust it anew")
	}
}
