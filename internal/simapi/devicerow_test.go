package simapi_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// device is a peer of the hub whose bytes the test counts; the device protocols
// have rows of their own.
type device struct {
	closed chan *fault.Error
	sent   chan *nave.C2D
	line   *hub.Line
	wire   *hub.Wire
}

// Deliver takes a message.
func (d *device) Deliver(c *nave.C2D) error { d.sent <- c; return nil }

// Invoke takes a method.
func (d *device) Invoke(*nave.Call) error { return nil }

// Desired takes a change.
func (d *device) Desired(*nave.Change) error { return nil }

// Close hears why the hub ends the connection.
func (d *device) Close(_ hub.Part, why *fault.Error) { d.closed <- why }

// identity returns a device of acme.
func (x *row) identity(name string) *nave.Identity {
	x.Helper()
	i, err := x.hubs["acme"].Backend(hub.Operator()).Device(x.Context(), nave.ID{Device: name})
	if err != nil {
		x.Fatal(err)
	}
	return i
}

// connect seats a device; protocol HTTP makes a request in place of a
// connection.
func (x *row) connect(name, protocol string) (*device, error) {
	x.Helper()
	h := x.hubs["acme"]
	id := nave.ID{Device: name}
	token, err := cred.Sign(h.Host()+"/devices/"+name, x.identity(name).Auth.Primary, "", x.now().Add(time.Hour))
	if err != nil {
		x.Fatal(err)
	}
	who, err := h.Authenticate(x.Context(), cred.Claim{SAS: token}, id)
	if err != nil {
		return nil, err
	}
	d := &device{closed: make(chan *fault.Error, 10), sent: make(chan *nave.C2D, 10), wire: hub.NewWire(protocol, "198.51.100.7:4711", x.now())}
	from := hub.Arrival{Peer: d, Holds: hub.Everything, Endless: true, Protocol: strings.ToLower(protocol), Remote: "198.51.100.7:4711"}
	if protocol == hub.HTTPTraffic {
		from = hub.Arrival{Protocol: "https", Remote: from.Remote}
	}
	d.line, err = h.Connect(d.wire.Context(context.WithoutCancel(x.Context())), who, id, from)
	return d, err
}

// attach is connect for a device that must be let in.
func (x *row) attach(name, protocol string) *device {
	x.Helper()
	d, err := x.connect(name, protocol)
	if err != nil {
		x.Fatal(err)
	}
	x.Cleanup(func() { d.line.Close(nil) })
	return d
}

func TestDeviceRows(t *testing.T) {
	fresh(t, "SIM-160 both sides see the link", func(x *row) {
		x.put(list+"/"+s6+"/device", `{"deviceId":"dev-2"}`).want(201).is("productId", s6).is("linkedAt", "2026-03-01T12:00:00.000Z")
		x.put(list+"/"+s6+"/device", `{"deviceId":"dev-2"}`).want(200)
		if c := x.identity("dev-2").Connectivity; c == nil || c.ICCID != s6[7:] || c.ProductID != s6 || c.Status != "ACTIVE" || c.Platform != "HUBSIM" {
			x.Error(c)
		}
		x.get(list+"/"+s6+"/device").want(200).is("deviceId", "dev-2")
		x.get(list + "?deviceId=dev-2").ids(s6)
		x.delete(list + "/" + s6 + "/device").want(204)
		x.delete(list+"/"+s6+"/device").problem(404, "Not Found", "link_not_found")
		if c := x.identity("dev-2").Connectivity; c != nil {
			x.Error(c)
		}
	})
	fresh(t, "SIM-165 a link from provisioning", func(x *row) {
		iccid := s6[7:]
		if _, err := x.hubs["acme"].Backend(hub.Operator()).Put(x.Context(), nave.ID{Device: "dev-6"}, &nave.IdentityPatch{ICCID: &iccid}, ""); err != nil {
			x.Fatal(err)
		}
		x.eventually(func() bool { return x.get(list+"/"+s6).get("device.id") == "dev-6" })
	})
	fresh(t, "SIM-140 over the limit", func(x *row) {
		x.as(x.a, "PATCH", b+"/productOffering/off-500mb", `{"dataLimitBytes":1000,"onLimit":"SUSPEND"}`, mergePatch).want(200)
		d := x.attach("dev-1", hub.MQTTTraffic)
		d.wire.Received(2000)
		x.move(x, noon.Add(11*time.Second))
		x.get(list+"/"+s1).is("status", "SUSPENDED")
		x.get(list+"/"+s1+"/history").is("entities.0.reason", "data_limit").is("entities.0.to", "SUSPENDED").is("entities.0.actor.type", "HUB")
		x.to(s1, "ACTIVE").problem(400, "Invalid Action", "data_limit_reached")
	})
	fresh(t, "SIM-171 the counter of the period", func(x *row) {
		x.move(x, noon.Add(time.Minute)) // a series ends before the hour that begins now
		d := x.attach("dev-1", hub.MQTTTraffic)
		d.wire.Received(1_234_000)
		d.wire.Sent(567)
		d.line.Close(nil)
		a := x.get(list + "/" + s1 + "-usageVolume-data").want(200)
		a.is("bucketCounter.0.counterType", "USED").is("bucketCounter.0.value", map[string]any{"amount": 1234.567, "units": "KB"}).is("bucketCounter.0.valueName", "1234.567 KB")
		u := x.get(list + "/" + s1 + "/usage").want(200)
		u.is("entities.0.data", map[string]int{"uplinkBytes": 1234000, "downlinkBytes": 567, "totalBytes": 1234567})
		s := x.get(list + "/" + s1 + "/dataSession").want(200)
		s.is("entities.0.uplinkBytes", 1234000).is("entities.0.downlinkBytes", 567).is("entities.0.terminateCause", "DEVICE_DISCONNECT").is("entities.0.protocol", "MQTT").is("entities.0.ipAddress", "198.51.100.7")
	})
	fresh(t, "SIM-172 a link that moves", func(x *row) {
		x.move(x, noon.Add(time.Minute))
		d := x.attach("dev-1", hub.MQTTTraffic)
		d.wire.Received(100)
		x.put(list+"/"+s6+"/device", `{"deviceId":"dev-1","replace":true}`).want(201)
		d.wire.Received(20)
		d.line.Close(nil)
		x.get(list+"/"+s1+"/usage").is("entities.0.data.uplinkBytes", 100)
		x.get(list+"/"+s6+"/usage").is("entities.0.data.uplinkBytes", 20)
	})
	fresh(t, "SIM-169 the first use activates", func(x *row) {
		x.get(list+"/"+s5).is("status", "PENDING_ACTIVE")
		x.attach("dev-5", hub.MQTTTraffic)
		a := x.get(list+"/"+s5).is("status", "ACTIVE")
		if got := characteristic(a.get("productRelationship.0.product"), "dateActivated"); got != "2026-03-01T12:00:00.000Z" {
			x.Error(got)
		}
		x.get(list+"/"+s5+"/history").is("entities.0.actor.type", "HUB").is("entities.0.to", "ACTIVE")
	})
}

func TestDeviceProtocolRows(t *testing.T) {
	fresh(t, "SIM-219 a data session over HTTP", func(x *row) {
		for n := range 3 {
			x.time.Store(noon.Add(time.Duration(n) * 20 * time.Second).UnixNano())
			d := x.attach("dev-1", hub.HTTPTraffic)
			d.wire.Received(100)
			d.wire.Sent(10)
			d.wire.EndRequest()
		}
		x.move(x, noon.Add(time.Minute))
		x.get(list+"/"+s1+"/dataSession").is("statistics.totalCount", 1).is("entities.0.state", "OPEN")
		x.move(x, noon.Add(17*time.Minute))
		x.get(list+"/"+s1+"/dataSession").is("statistics.totalCount", 1).is("entities.0.state", "CLOSED").is("entities.0.terminateCause", "IDLE").is("entities.0.uplinkBytes", 300).is("entities.0.protocol", "HTTP")
	})
	fresh(t, "SIM-176 a short message arrives", func(x *row) {
		d := x.attach("dev-1", hub.MQTTTraffic)
		d.line.Credit(10)
		m := x.post(list+"/"+s1+"/sms", `{"payload":"hi"}`).want(201).is("status", "SUBMITTED")
		select {
		case c := <-d.sent:
			if string(c.Body) != "hi" || len(c.App) != 1 || c.App[0].Name != "connectivity-sms" || c.App[0].Value != "mt" {
				x.Errorf("%+v", c)
			}
			if err := d.line.Settle(x.Context(), c.Lock, nave.Complete); err != nil {
				x.Fatal(err)
			}
		case <-time.After(patience):
			x.Fatal("the message did not come")
		}
		at := list + "/" + s1 + "/sms/" + m.get("id").(string)
		x.eventually(func() bool { return x.get(at).get("status") == "DELIVERED" })
	})
	fresh(t, "SIM-177 reset", func(x *row) {
		d := x.attach("dev-1", hub.MQTTTraffic)
		x.post(list+"/"+s1+"/reset", "").want(200)
		select {
		case <-d.closed:
			d.line.Close(nil)
		case <-time.After(patience):
			x.Fatal("the connection is still open")
		}
		x.eventually(func() bool { return x.get(list+"/"+s1+"/dataSession").get("entities.0.terminateCause") == "RESET" })
		x.attach("dev-1", hub.MQTTTraffic)
	})
}
