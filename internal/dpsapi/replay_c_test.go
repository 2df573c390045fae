package dpsapi_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/mqtt"
)

// csdk is the C SDK: it publishes with QoS 0, sends the body of its register
// with each poll, names links by URL, and clamps what it is told to wait (dps
// 1.4, 2.4-2.7).
var csdk = &sdk{name: "the C SDK", transports: []string{"http", "mqtt", "mqtt-ws", "amqp", "amqp-ws"}, version: "2021-06-01",
	again: "reprovisionedToInitialAssignment", retries: true, final: "amqp amqp-ws ", dial: dialC}

func dialC(d *device, transport, _ string) (talk, error) {
	body := `{"registrationId":` + quoted(d.id) + `}`
	switch transport {
	case "http":
		return &cHTTP{d: d, body: body}, nil
	case "mqtt", "mqtt-ws":
		return dialCMQTT(d, transport, body)
	}
	o := amqp.ClientOptions{}
	if d.key != "" {
		o = amqp.ClientOptions{Mechanism: amqp.Plain, Response: []byte("\x00" + d.resource() + "\x00" + cToken(d))}
	}
	return dialCAMQP(d, transport, body, o)
}

// cToken lives for 2400 seconds; more than 470 bytes do not fit into C's buffer
// for SASL.
func cToken(d *device) string {
	f := sas(d.t, d.key, url.QueryEscape(d.resource()), d.now().Add(2400*time.Second))
	token := "SharedAccessSignature " + strings.Join(f[:], "&") + "&skn=registration"
	if len(token) > 470 {
		d.t.Fatalf("a token of %d bytes", len(token))
	}
	return token
}

// cWait is a hint between 1 and 300 seconds, 1 for all others.
func cWait(text string) int {
	if n, err := strconv.Atoi(text); err == nil && n >= 1 && n <= 300 {
		return n
	}
	return 1
}

// cChallenge is the answer to a TPM: a body with authenticationKey, which needs
// keyName.
type cChallenge struct{ key string }

func (e *cChallenge) Error() string { return "a challenge" }

// cRead parses a body as C does.
func cRead(code int, raw []byte) (*told, error) {
	body, e, err := decode(code, raw)
	switch {
	case err != nil:
		return nil, err
	case e != nil:
		e.transient = code >= 429
		return nil, e
	case body["authenticationKey"] != nil:
		key, _ := body["authenticationKey"].(string)
		if name, _ := body["keyName"].(string); name == "" || key == "" {
			return nil, fmt.Errorf("a challenge without keyName: %s", raw)
		}
		return nil, &cChallenge{key}
	}
	x, err := understand(raw, body)
	if err == nil && x.status == "failed" && x.at("errorCode") == "" {
		err = fmt.Errorf("failed without errorCode: %s", raw)
	}
	return x, err
}

type cHTTP struct {
	d    *device
	body string
}

func (c *cHTTP) call(method, path, body string) (*told, error) {
	header := []string{"UserAgent: prov_device_client/1.0", "Accept: application/json", "Content-Type: application/json; charset=utf-8"}
	if c.d.key != "" {
		header = append(header, "Authorization: "+cToken(c.d))
	}
	w, err := c.d.exchange(method, c.d.path(path), body, header...)
	if err != nil {
		return nil, err
	}
	x, err := cRead(w.code, w.body)
	var e *denied
	switch {
	case errors.As(err, &e):
		e.wait = cWait(w.head("Retry-After"))
	case err == nil && w.code >= 300:
		err = fmt.Errorf("%d %s", w.code, w.body)
	case err == nil:
		x.wait = cWait(w.head("Retry-After"))
	}
	return x, err
}

func (c *cHTTP) register() (*told, error) { return c.call("PUT", "/register", c.body) }

func (c *cHTTP) poll(operation string) (*told, error) {
	return c.call("GET", "/operations/"+operation, "")
}

type cMQTT struct {
	m    *mqttPeer
	body string
}

func dialCMQTT(d *device, transport, body string) (talk, error) {
	m := d.mqttTo(transport, "/$iothub/websocket", "MQTT")
	p := &mqtt.Connect{ClientID: d.id, HasUsername: true, KeepAlive: 30, Clean: true,
		Username: d.resource() + "/api-version=" + d.version + "&ClientVersion=" + url.PathEscape("prov_device_client/1.0")}
	if d.key != "" {
		p.HasPassword, p.Password = true, []byte(cToken(d))
	}
	return &cMQTT{m, body}, m.login(p)
}

// ask sends with QoS 0, so that no PUBACK may come; the hint is found by its
// bytes.
func (c *cMQTT) ask(request, more string) (*told, error) {
	c.m.rid++
	rid := strconv.Itoa(c.m.rid)
	c.m.send(&mqtt.Publish{Topic: "$dps/registrations/" + request + "/?$rid=" + rid + more, Payload: []byte(c.body)})
	got, err := c.m.tryRead()
	p, ok := got.(*mqtt.Publish)
	if err != nil || !ok {
		return nil, fmt.Errorf("%+v for an answer: %v", got, err)
	}
	if p.QoS > 0 {
		c.m.send(mqtt.Puback{ID: p.ID})
	}
	rest, ok := strings.CutPrefix(p.Topic, "$dps/registrations/res/")
	status, rest, _ := strings.Cut(rest, "/")
	code, err := strconv.Atoi(status)
	if !ok || err != nil || !strings.HasPrefix(rest, "?$rid="+rid) {
		return nil, fmt.Errorf("the topic %q", p.Topic)
	}
	_, hint, _ := strings.Cut(rest, "&retry-after=")
	x, err := cRead(code, p.Payload)
	var e *denied
	switch {
	case errors.As(err, &e):
		e.wait = cWait(hint)
	case err == nil && code >= 300:
		err = fmt.Errorf("%d %s", code, p.Payload)
	case err == nil:
		x.wait = cWait(hint)
	}
	return x, err
}

func (c *cMQTT) register() (*told, error) { return c.ask("PUT/iotdps-register", "") }

func (c *cMQTT) poll(operation string) (*told, error) {
	return c.ask("GET/iotdps-get-operationstatus", "&operationId="+operation)
}

type cAMQP struct {
	p    *amqpPeer
	body string
}

func dialCAMQP(d *device, transport, body string, o amqp.ClientOptions) (talk, error) {
	p, err := d.amqpTo(transport, "/$iothub/websocket", o)
	if err != nil {
		return nil, err
	}
	address := "amqps://" + d.host + "/" + d.resource()
	p.in = &amqp.Link{Name: "recv_link", Role: amqp.RoleReceiver, Source: &amqp.Terminus{Address: address}, SndMode: amqp.SettleMixed,
		Answer: p.properties(), OnDelivery: func(d *amqp.Delivery) { p.got <- d; d.Accept() }}
	p.out = p.sender(address)
	return &cAMQP{p, body}, p.onto(p.in, p.out)
}

// ask has no correlation-id; every refusal is the end. The hint counts only as
// int or as text.
func (c *cAMQP) ask(m *amqp.Message) (*told, error) {
	answer, refusal, err := c.p.request(m)
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		return nil, amqpDenied(refusal)
	}
	x, err := cRead(0, answer.Data[0])
	if err != nil || x.status != "assigning" {
		return x, err
	}
	switch hint := answer.ApplicationProperties.Get("retry-after").(type) {
	case int32:
		x.wait = cWait(fmt.Sprint(hint))
	case string:
		x.wait = cWait(hint)
	default:
		err = fmt.Errorf("retry-after is %T", hint)
	}
	return x, err
}

func (c *cAMQP) register() (*told, error) {
	return c.ask(registerMessage(c.body, amqp.Pair{Key: "iotdps-forceRegistration", Value: "true"}))
}

func (c *cAMQP) poll(operation string) (*told, error) { return c.ask(pollMessage(operation)) }

func TestReplayC(t *testing.T) {
	t.Parallel()
	csdk.walk(t, "DPS-287")
}

func TestReplayCHints(t *testing.T) {
	t.Parallel()
	hook := newWebhook(t, `{}`)
	k := open(t, func(s *setup) { s.service.Web, s.settings.RetryAfter = hook.Client(), 300 })
	for _, transport := range csdk.transports {
		t.Run("DPS-287 as the C SDK speaks: hint and failure over "+transport, func(t *testing.T) {
			d := k.enrol(t, "hint-"+transport, hook.custom)
			c, err := csdk.dial(d.withVersion(csdk.version), transport, "")
			if err != nil {
				t.Fatal(err)
			}
			if x, err := c.register(); err != nil || x.wait != 300 {
				t.Fatalf("%+v, %v", x, err)
			}
			if x, err := csdk.provision(d, transport, ""); err != nil || x.status != "failed" || x.at("errorCode") != "400208" {
				t.Errorf("%+v, %v", x, err)
			}
			_, err = csdk.provision(k.device(t, "hint-none-"+transport).withKey(someKey), transport, "")
			csdk.refused(t, err)
			d.scope = "InvalidIDScope"
			_, err = csdk.provision(d, transport, "")
			csdk.refused(t, err)
		})
	}
}

func TestReplayCTPM(t *testing.T) {
	t.Parallel()
	k := open(t)
	v := newTPM(t, 0)
	s := *csdk
	s.dial = func(d *device, transport, _ string) (talk, error) {
		if transport != "http" { // the first text goes out in pieces
			return dialCAMQP(d, transport, v.body(d.id), csSegments(&exchange{t: d.t, v: v, d: d, split: 200}))
		}
		c := &cHTTP{d: d, body: v.body(d.id)}
		_, err := c.register()
		var challenge *cChallenge
		if !errors.As(err, &challenge) {
			return nil, err
		}
		c.d = d.withKey(v.activateText(d.t, challenge.key))
		return c, nil
	}
	for _, transport := range []string{"http", "amqp", "amqp-ws"} {
		t.Run("DPS-287 as the C SDK speaks: TPM over "+transport, func(t *testing.T) {
			x := s.assigned(t, k.enrolTPM(t, "c-tpm-"+transport, v), transport, "initialAssignment")
			tpm, _ := x.state["tpm"].(map[string]any)
			blob, _ := tpm["authenticationKey"].(string)
			k.device(t, x.at("deviceId")).withKey(v.activateText(t, blob)).admitted(t, x)
			_, err := s.provision(k.device(t, "c-tpm-none"), transport, "")
			s.refused(t, err)
		})
	}
}

func TestReplayCService(t *testing.T) {
	t.Parallel()
	k := open(t)
	b := k.backend(t, "2018-04-01")
	t.Run("DPS-288 as the C SDK speaks: individual enrolments", func(t *testing.T) {
		b := b.in(t)
		c := selfSigned(t, "c-1")
		for id, attestation := range map[string]string{
			"c-1": `{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":` + quoted(pemOf(c)) + `}}}}`,
			"c-2": `{"type":"symmetricKey","symmetricKey":{"primaryKey":"","secondaryKey":""}}`,
			"c-3": `{"type":"tpm","tpm":{"endorsementKey":"` + base64.StdEncoding.EncodeToString(newTPM(t, 0).ek) + `"}}`,
		} {
			made := b.call("PUT", "/enrollments/"+id, `{"registrationId":"`+id+`","deviceId":"dev","attestation":`+attestation+`,"provisioningStatus":"enabled"}`)
			if got := b.call("GET", "/enrollments/"+id, ""); got.etag() != made.etag() || made.etag() == "" || got["deviceId"] != "dev" {
				t.Errorf("%v behind %v", got, made)
			}
			made["provisioningStatus"] = "disabled"
			next := b.call("PUT", "/enrollments/"+id, made.text(), "If-Match: "+made.etag())
			b.refusal(412001, "DELETE", "/enrollments/"+id, "", "If-Match: "+made.etag())
			b.call("DELETE", "/enrollments/"+id, "", "If-Match: "+next.etag())
			b.refusal(404201, "GET", "/enrollments/"+id, "")
		}
	})
	t.Run("DPS-288 as the C SDK speaks: groups", func(t *testing.T) {
		b := b.in(t)
		made := b.call("PUT", "/enrollmentGroups/c-g", keyedGroup("c-g"))
		b.call("PUT", "/enrollmentGroups/c-g", made.text(), "If-Match: "+made.etag())
		b.call("DELETE", "/enrollmentGroups/c-g", "")
	})
	t.Run("DPS-288 as the C SDK speaks: query and bulk", func(t *testing.T) {
		b := b.in(t)
		if ok, errors := b.bulk("/enrollments/", "enrollments", "create", keyed("e-1"), keyed("e-2"), keyed("e-3")); !ok {
			t.Error(errors)
		}
		pages := b.pages("/enrollments/query", "SELECT * FROM enrollments", "Enrollment", 2, (*wire).head)
		if got := fmt.Sprint(names(pages, "registrationId")); got != "[[e-1 e-2] [e-3]]" {
			t.Error(got)
		}
		if pages = b.pages("/enrollmentGroups/query", "SELECT * FROM enrollmentGroups", "EnrollmentGroup", 2, (*wire).head); len(pages[0]) > 0 {
			t.Error(pages)
		}
		ok, errors := b.bulk("/enrollments/", "enrollments", "delete", keyed("e-2"), keyed("e-9"))
		if ok || len(errors) != 1 || errors[0]["registrationId"] != "e-9" || fmt.Sprint(errors[0]["errorCode"]) != "404201" {
			t.Error(errors)
		}
	})
	t.Run("DPS-288 as the C SDK speaks: registration states", func(t *testing.T) {
		b := b.in(t)
		derived := k.enrol(t, "c-state", func(e *dps.Enrollment) {})
		derived.assigned("")
		if got := b.call("GET", "/registrations/c-state", ""); got["status"] != "assigned" || got["assignedHub"] == nil || got.etag() == "" {
			t.Errorf("%v", got)
		}
		b.call("DELETE", "/registrations/c-state", "", "If-Match: *")
		b.refusal(404202, "GET", "/registrations/c-state", "")
	})
}
