package dpsapi_test

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/mqtt"
)

// csharp is the C# SDK: settable ports, root path of WebSockets, a state machine
// on MQTT that takes packets in one order only (dps 0.1, 2.3-2.6, 9.2).
var csharp = &sdk{name: "the C# SDK", transports: []string{"http", "mqtt", "mqtt-ws", "amqp", "amqp-ws"}, version: "2019-03-31",
	again: "initialAssignment", retries: true, dial: dialCSharp}

func dialCSharp(d *device, transport, payload string) (talk, error) {
	switch transport {
	case "http":
		return &csHTTP{d: d, body: csBody(d, payload)}, nil
	case "mqtt", "mqtt-ws":
		return dialCSharpMQTT(d, transport, payload)
	}
	o := amqp.ClientOptions{} // X.509: no SASL at all
	if d.key != "" {
		o = amqp.ClientOptions{Mechanism: amqp.Plain, Response: []byte("\x00" + d.resource() + "\x00" + csToken(d))}
	}
	return dialCSharpAMQP(d, transport, csBody(d, payload), o)
}

// csToken has an encoded sr, a life of a day, and skn=registration.
func csToken(d *device) string {
	f := sas(d.t, d.key, url.QueryEscape(d.resource()), d.now().Add(24*time.Hour))
	return "SharedAccessSignature " + strings.Join(f[:], "&") + "&skn=registration"
}

func csBody(d *device, payload string) string {
	if payload == "" {
		return `{"registrationId":` + quoted(d.id) + `}`
	}
	return `{"registrationId":` + quoted(d.id) + `,"payload":` + payload + `}`
}

// csRead makes the model; a payload that nobody returned must be null.
func csRead(raw []byte, body map[string]any) (*told, error) {
	x, err := understand(raw, body)
	if err != nil || x.state == nil || x.status == "assigning" {
		return x, err
	}
	for _, name := range []string{"createdDateTimeUtc", "lastUpdatedDateTimeUtc"} {
		if _, err := time.Parse(time.RFC3339Nano, x.at(name)); err != nil {
			return nil, err
		}
	}
	if code := x.at("errorCode"); code != "" {
		if _, err := strconv.Atoi(code); err != nil {
			return nil, err
		}
	}
	return x, x.whole()
}

// csWait is a hint with C#'s floor.
func csWait(text string) (int, error) {
	n, err := strconv.Atoi(text)
	return max(n, 2), err
}

// csDenied is what C# retries: 429 and 500 or more.
func csDenied(e *denied, wait string) error {
	e.transient = e.status == 429 || e.status >= 500
	if wait != "" {
		e.wait, _ = csWait(wait)
	}
	return e
}

type csHTTP struct {
	d    *device
	body string
}

func (c *csHTTP) call(method, path, body string) (*wire, *told, error) {
	header := []string{"User-Agent: .NET/1.19.4 (.NET 8)", "Accept: application/json"}
	if c.d.key != "" {
		header = append(header, "Authorization: "+csToken(c.d))
	}
	if body != "" {
		header = append(header, "Content-Type: application/json; charset=utf-8")
	}
	w, err := c.d.exchange(method, c.d.path(path), body, header...)
	if err != nil {
		return nil, nil, err
	}
	m, e, err := decode(w.code, w.body)
	switch {
	case err != nil:
		return w, nil, err
	case e != nil:
		return w, nil, csDenied(e, w.head("Retry-After"))
	case w.code != 202 && (w.code != 200 || method == "PUT"):
		return w, nil, fmt.Errorf("%d %s", w.code, w.body)
	}
	x, err := csRead(w.body, m)
	if err == nil && x.status == "assigning" {
		x.wait, err = csWait(w.head("Retry-After"))
	}
	return w, x, err
}

func (c *csHTTP) register() (*told, error) {
	_, x, err := c.call("PUT", "/register", c.body)
	return x, err
}

func (c *csHTTP) poll(operation string) (*told, error) {
	_, x, err := c.call("GET", "/operations/"+operation, "")
	return x, err
}

type csMQTT struct {
	m    *mqttPeer
	body string
}

func dialCSharpMQTT(d *device, transport, payload string) (talk, error) {
	m := d.mqttTo(transport, "/", "mqtt")
	p := &mqtt.Connect{ClientID: d.id, HasUsername: true, KeepAlive: 300,
		Username: d.resource() + "/api-version=" + d.version + "&ClientVersion=" + url.PathEscape(".NET/1.19.4 (.NET 8)")}
	if d.key != "" {
		p.HasPassword, p.Password = true, []byte(csToken(d))
	}
	body := ""
	if payload != "" {
		body = `{"payload":` + payload + `}`
	}
	return &csMQTT{m, body}, m.login(p)
}

var csTopic = regexp.MustCompile(`^\$dps/registrations/res/([0-9]+)/\?\$rid=([0-9]+)(?i:&retry-after=([0-9]+))?$`)

// ask is the state machine: PUBACK, then the answer with QoS 1, acknowledged.
func (c *csMQTT) ask(request, more, payload string) (*told, error) {
	c.m.next++
	rid := strconv.Itoa(int(c.m.next))
	c.m.send(&mqtt.Publish{Topic: "$dps/registrations/" + request + "/?$rid=" + rid + more, Payload: []byte(payload), QoS: 1, ID: c.m.next})
	got, err := c.m.tryRead()
	if ack, ok := got.(mqtt.Puback); err != nil || !ok || ack.ID != c.m.next {
		return nil, fmt.Errorf("%+v where C# waits for its PUBACK: %v", got, err)
	}
	got, err = c.m.tryRead()
	p, ok := got.(*mqtt.Publish)
	if err != nil || !ok || p.QoS != 1 || p.ID == 0 {
		return nil, fmt.Errorf("%+v where C# waits for the answer: %v", got, err)
	}
	c.m.send(mqtt.Puback{ID: p.ID})
	part := csTopic.FindStringSubmatch(p.Topic)
	if part == nil || part[2] != rid {
		return nil, fmt.Errorf("the topic %q", p.Topic)
	}
	code, _ := strconv.Atoi(part[1])
	m, e, err := decode(code, p.Payload)
	switch {
	case err != nil:
		return nil, err
	case code >= 400:
		if e == nil {
			return nil, fmt.Errorf("%d %s", code, p.Payload)
		}
		return nil, csDenied(e, part[3])
	}
	x, err := csRead(p.Payload, m)
	if err == nil && x.status == "assigning" {
		x.wait, err = csWait(part[3])
	}
	return x, err
}

func (c *csMQTT) register() (*told, error) { return c.ask("PUT/iotdps-register", "", c.body) }

func (c *csMQTT) poll(operation string) (*told, error) {
	return c.ask("GET/iotdps-get-operationstatus", "&operationId="+operation, "")
}

type csAMQP struct {
	p    *amqpPeer
	body string
	n    int
}

func dialCSharpAMQP(d *device, transport, body string, o amqp.ClientOptions) (talk, error) {
	p, err := d.amqpTo(transport, "/", o)
	if err != nil {
		return nil, err
	}
	mode := uint8(amqp.SettleMixed)
	if transport == "amqp-ws" { // accepts what comes, settled or not
		mode = amqp.SettleUnsettled
	}
	p.in = &amqp.Link{Name: "duplex-" + d.id + "-receiver", Role: amqp.RoleReceiver, Source: &amqp.Terminus{Address: d.resource()}, SndMode: mode,
		Answer: p.properties(), OnDelivery: func(d *amqp.Delivery) { p.got <- d; d.Accept() }}
	p.out = p.sender(d.resource())
	return &csAMQP{p: p, body: body}, p.onto(p.in, p.out)
}

func (c *csAMQP) ask(m *amqp.Message) (*told, error) {
	c.n++
	id := fmt.Sprintf("6f1a0e0e-0000-4000-8000-%012d", c.n)
	m.Properties = &amqp.Properties{CorrelationID: id}
	answer, refusal, err := c.p.request(m)
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		err := amqpDenied(refusal)
		if e := (*denied)(nil); errors.As(err, &e) {
			hint := ""
			if n, ok := refusal.Info.Get("Retry-After").(int32); ok {
				hint = fmt.Sprint(n)
			}
			return nil, csDenied(e, hint)
		}
		return nil, err
	}
	if answer.Properties == nil || answer.Properties.CorrelationID != id {
		return nil, fmt.Errorf("the correlation-id is not %s: %+v", id, answer.Properties)
	}
	body, e, err := decode(0, answer.Data[0])
	if err != nil || e != nil {
		return nil, fmt.Errorf("%s: %v", answer.Data[0], err)
	}
	x, err := csRead(answer.Data[0], body)
	if err == nil && x.status == "assigning" {
		n, ok := answer.ApplicationProperties.Get("Retry-After").(int32)
		if x.wait = max(int(n), 2); !ok {
			err = fmt.Errorf("Retry-After is missing in %v", answer.ApplicationProperties)
		}
	}
	return x, err
}

func (c *csAMQP) register() (*told, error) {
	return c.ask(registerMessage(c.body, amqp.Pair{Key: "iotdps-forceRegistration", Value: false}))
}

// poll has a value for body.
func (c *csAMQP) poll(operation string) (*told, error) {
	m := pollMessage(operation)
	m.Data, m.HasValue, m.Value = nil, true, ""
	return c.ask(m)
}

func TestReplayCSharp(t *testing.T) {
	t.Parallel()
	// Over MQTT the leaf comes alone (dps 2.8).
	csharp.walk(t, "DPS-284", "mqtt", "mqtt-ws")
}

func TestReplayCSharpPayload(t *testing.T) {
	t.Parallel()
	hook := newWebhook(t, `{"iotHubHostName":"hub-b.test"}`)
	k := open(t, func(s *setup) { s.service.Web, s.settings.RetryAfter = hook.Client(), 42 })
	for _, transport := range csharp.transports {
		t.Run("DPS-284 as the C# SDK speaks: payload, hint and failure over "+transport, func(t *testing.T) {
			d := k.enrol(t, "payload-"+transport, hook.custom)
			x, err := csharp.provision(d, transport, `{"a":[1,2.50]}`)
			if err != nil || x.status != "assigned" || x.state["payload"] != nil || x.at("assignedHub") != "hub-b.test" {
				t.Fatalf("%+v, %v", x, err)
			}
			if body := <-hook.asked; !strings.Contains(body, `"payload":{"a":[1,2.50]}`) {
				t.Errorf("the webhook got %s", body)
			}
			hook.answer.Store(`{"iotHubHostName":"hub-b.test","payload":{"b":1}}`)
			if x, err = csharp.provision(d, transport, ""); err != nil || fmt.Sprint(x.state["payload"]) != "map[b:1]" {
				t.Errorf("%+v, %v", x, err)
			}
			<-hook.asked
			hook.answer.Store(`{}`)
			if x, err = csharp.provision(d, transport, ""); err != nil || x.status != "failed" || x.at("errorCode") != "400208" {
				t.Errorf("%+v, %v", x, err)
			}
			<-hook.asked
			hook.answer.Store(`{"iotHubHostName":"hub-b.test"}`)
			c, err := csharp.dial(d, transport, "")
			if err != nil {
				t.Fatal(err)
			}
			if x, err := c.register(); err != nil || x.wait != 42 {
				t.Errorf("%+v, %v", x, err)
			}
			<-hook.asked
		})
	}
}

// csSegments holds the challenges of SASL TPM against C#'s rule: 0x80|n, the
// last 0xC0|n.
func csSegments(x *exchange) amqp.ClientOptions {
	o, n := x.options(), byte(0)
	o.Step = func(challenge []byte) ([]byte, error) {
		switch c := challenge[0]; {
		case len(challenge) > 1 && c != 0x80|n && c != 0xC0|n, len(challenge) == 1 && (c != 0 || n > 0):
			return nil, fmt.Errorf("control byte %#x for segment %d", c, n)
		case len(challenge) > 1:
			n++
		}
		return x.step(challenge)
	}
	return o
}

func TestReplayCSharpTPM(t *testing.T) {
	t.Parallel()
	k := open(t)
	v := newTPM(t, 0)
	for _, transport := range []string{"http", "amqp", "amqp-ws"} {
		t.Run("DPS-284 as the C# SDK speaks: TPM over "+transport, func(t *testing.T) {
			for _, known := range []bool{true, false} {
				d := k.device(t, fmt.Sprintf("tpm-%s-%t", transport, known))
				if known {
					d = k.enrolTPM(t, d.id, v)
				}
				end, err := csTPM(d, v, transport)
				if !known { // the text of the exception is looked at
					if e := csharp.refused(t, err); !strings.Contains(e.Error(), "404201") {
						t.Error(err)
					}
					continue
				}
				if err != nil || end.status != "assigned" {
					t.Fatalf("%+v, %v", end, err)
				}
				tpm, _ := end.state["tpm"].(map[string]any)
				blob, _ := tpm["authenticationKey"].(string)
				d.withKey(v.activateText(t, blob)).admitted(t, end)
			}
		})
	}
}

// csTPM provisions a TPM: over HTTPS the challenge comes first.
func csTPM(d *device, v *softTPM, transport string) (*told, error) {
	s := *csharp
	s.dial = func(d *device, transport, _ string) (talk, error) {
		if transport != "http" {
			return dialCSharpAMQP(d, transport, v.body(d.id), csSegments(&exchange{t: d.t, v: v, d: d}))
		}
		c := &csHTTP{d: d, body: v.body(d.id)}
		w, _, err := c.call("PUT", "/register", c.body)
		if w == nil || w.code != 401 {
			return nil, err
		}
		m, _, err := decode(401, w.body)
		if err != nil {
			return nil, err
		}
		key, _ := m["authenticationKey"].(string)
		c.d = d.withKey(v.activateText(d.t, key))
		return c, nil
	}
	return s.provision(d, transport, "")
}

func TestReplayCSharpScope(t *testing.T) {
	t.Parallel()
	k := openX509(t)
	v := newTPM(t, 0)
	for _, transport := range csharp.transports {
		for _, x := range k.subjects(t, "scope-"+transport, false) {
			x.put()
			t.Run(fmt.Sprintf("DPS-285 as the C# SDK speaks: %s over %s", x.kind, transport), func(t *testing.T) {
				d := *x.device
				d.t, d.scope = t, "InvalidIDScope"
				_, err := csharp.provision(&d, transport, "")
				csharp.refused(t, err)
			})
			x.delete()
		}
		if strings.HasPrefix(transport, "mqtt") {
			continue
		}
		t.Run("DPS-285 as the C# SDK speaks: TPM over "+transport, func(t *testing.T) {
			d := *k.enrolTPM(t, "scope-tpm-"+transport, v)
			d.scope = "InvalidIDScope"
			_, err := csTPM(&d, v, transport)
			csharp.refused(t, err)
		})
	}
}
