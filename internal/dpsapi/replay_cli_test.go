package dpsapi_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/mqtt"
)

// cli is the device side of the Azure CLI's IoT extension: Python's SDK on MQTT,
// whose texts the extension looks at (dps 1.4, 2.4, 7.7).
var cli = &sdk{name: "the Azure CLI", transports: []string{"mqtt", "mqtt-ws"}, version: "2019-03-31", again: "initialAssignment", retries: true,
	dial: func(d *device, transport, payload string) (talk, error) {
		m := d.mqttTo(transport, "/$iothub/websocket", "mqtt")
		p := &mqtt.Connect{ClientID: d.id, HasUsername: true, KeepAlive: 60,
			Username: d.resource() + "/api-version=2019%2D03%2D31&ClientVersion=azure-iot-device%2F2.12.0%20%28py%29"}
		if d.key != "" { // no skn
			f := sas(d.t, d.key, url.QueryEscape(d.resource()), d.now().Add(time.Hour))
			p.HasPassword, p.Password = true, []byte("SharedAccessSignature "+strings.Join(f[:], "&"))
		}
		return &cliTalk{m, csBody(d, payload)}, m.login(p)
	}}

type cliTalk struct {
	m    *mqttPeer
	body string
}

// cliTopic splits as Python does: at "$", then at "&" and "=".
func cliTopic(topic string) (code int, properties map[string]string, err error) {
	part := strings.Split(topic, "$")
	level := strings.Split(topic, "/")
	if len(part) != 3 || len(level) != 5 || !strings.HasPrefix(topic, "$dps/registrations/res/") {
		return 0, nil, fmt.Errorf("the topic %q", topic)
	}
	properties = map[string]string{}
	for item := range strings.SplitSeq(part[2], "&") {
		pair := strings.Split(item, "=")
		if len(pair) != 2 || properties[pair[0]] != "" {
			return 0, nil, fmt.Errorf("the topic %q", topic)
		}
		properties[pair[0]] = pair[1]
	}
	code, err = strconv.Atoi(level[3])
	return code, properties, err
}

// ask takes PUBACK and answer in any order.
func (c *cliTalk) ask(what, request, more, payload string) (*told, error) {
	c.m.next++
	rid := fmt.Sprintf("b6c8a3f2-0000-4000-8000-%012d", c.m.next)
	c.m.send(&mqtt.Publish{Topic: "$dps/registrations/" + request + "/?$rid=" + rid + more, Payload: []byte(payload), QoS: 1, ID: c.m.next})
	var p *mqtt.Publish
	for p == nil {
		got, err := c.m.tryRead()
		if err != nil {
			return nil, err
		}
		p, _ = got.(*mqtt.Publish)
	}
	c.m.send(mqtt.Puback{ID: p.ID})
	code, properties, err := cliTopic(p.Topic)
	if err != nil || properties["rid"] != rid {
		return nil, fmt.Errorf("the topic %q: %v", p.Topic, err)
	}
	m, e, err := decode(code, p.Payload)
	if err != nil {
		return nil, err
	}
	if code >= 300 {
		if e == nil {
			return nil, fmt.Errorf("%d %s", code, p.Payload)
		}
		e.text = fmt.Sprintf("%s request returned a service error status code %d %s", what, code, p.Payload)
		e.transient = code >= 429
		e.wait, _ = strconv.Atoi(properties["retry-after"])
		return nil, e
	}
	x, err := understand(p.Payload, m)
	if err == nil && x.status == "assigning" {
		x.wait, err = strconv.Atoi(properties["retry-after"])
	}
	return x, err
}

func (c *cliTalk) register() (*told, error) {
	return c.ask("register", "PUT/iotdps-register", "", c.body)
}

func (c *cliTalk) poll(operation string) (*told, error) {
	return c.ask("query", "GET/iotdps-get-operationstatus", "&operationId="+operation, " ")
}

// cliText is what the extension shows of the end of a registration.
func cliText(x *told, err error) string {
	var e *denied
	switch {
	case errors.As(err, &e):
		return e.text
	case err != nil:
		return "broken: " + err.Error()
	case x.status == "failed":
		return "query operation returned a failed registration status with a status code of 200"
	case x.status != "assigned":
		return "query operation returned an invalid registration status '" + x.status + "' with a status code of 200"
	}
	return x.status
}

func TestReplayCLIDevice(t *testing.T) {
	t.Parallel()
	cli.walk(t, "DPS-289")
	hook := newWebhook(t, `{}`)
	k := open(t, func(s *setup) { s.service.Web = hook.Client() })
	t.Run("DPS-289 as the Azure CLI speaks: texts of device registration create", func(t *testing.T) {
		disabled := k.enrol(t, "cli-2", func(e *dps.Enrollment) { e.Provisioning = dps.ProvisioningDisabled })
		for want, d := range map[string]*device{
			"register request returned a service error status code 401":        k.device(t, "cli-none").withCert(selfSigned(t, "cli-none")),
			"returned a failed registration status with a status code of 200":  k.enrol(t, "cli-1", hook.custom),
			"invalid registration status 'disabled' with a status code of 200": disabled,
			"CONNACK 5": {kit: k, t: t, host: k.host, scope: "0neFFFFFFFF", id: "cli-3", key: disabled.key},
		} {
			if got := cliText(cli.provision(d, "mqtt", "")); !strings.Contains(got, want) {
				t.Errorf("%s, want %s", got, want)
			}
		}
	})
	t.Run("DPS-289 as the Azure CLI speaks: register and look up at both hosts", func(t *testing.T) {
		b := k.backend(t, serviceVersion)
		d := k.enrol(t, "cli-4")
		for _, host := range []string{globalHost, serviceHost} {
			d.host = host
			first, err := cli.provision(d, "mqtt", "")
			if err != nil || first.status != "assigned" {
				t.Fatal(cliText(first, err))
			}
			state := b.call("GET", "/registrations/cli-4", "")
			if a := d.lookup(`{"registrationId":"cli-4"}`).want(200, 0); a.get("etag") != state.etag() || first.at("etag") != state.etag() || a.get("status") != "assigned" {
				t.Errorf("%s %s %v", first.raw, a.raw, state)
			}
			if host == serviceHost && state["substatus"] != "reprovisionedToInitialAssignment" { // not lowered for the service side
				t.Errorf("%v", state)
			}
		}
	})
}

// cliUpdate is what the extension does for update and delete without an etag.
const cliUpdate = "If-Match: *"

func TestReplayCLIEnrolments(t *testing.T) {
	t.Parallel()
	k := open(t)
	b := k.backend(t, "2021-10-01")
	b.life = 24 * time.Hour
	for name, attestation := range map[string]string{
		"x509":         `{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":` + quoted(pemOf(selfSigned(t, "cli-x509"))) + `}}}}`,
		"symmetricKey": `{"type":"symmetricKey","symmetricKey":{}}`,
		"tpm":          `{"type":"tpm","tpm":{"endorsementKey":"` + base64.StdEncoding.EncodeToString(newTPM(t, 0).ek) + `"}}`,
	} {
		t.Run("DPS-289 as the Azure CLI speaks: enrollment with "+name, func(t *testing.T) {
			b := b.in(t)
			cliLife(b, "/enrollments/cli-"+name, "/enrollments", "Enrollment", "registrationId", "cli-"+name, attestation, 404201, 409201)
		})
	}
	_, certPEM := root(t, "cli root")
	for name, attestation := range map[string]string{
		"x509":         `{"type":"x509","x509":{"signingCertificates":{"primary":{"certificate":` + quoted(certPEM) + `}}}}`,
		"symmetricKey": `{"type":"symmetricKey","symmetricKey":{}}`,
	} {
		t.Run("DPS-289 as the Azure CLI speaks: enrollment-group with "+name, func(t *testing.T) {
			b := b.in(t)
			cliLife(b, "/enrollmentGroups/cli-"+name, "/enrollmentGroups", "EnrollmentGroup", "enrollmentGroupId", "cli-"+name, attestation, 404204, 409202)
		})
	}
}

// cliLife creates, shows, lists, updates and deletes.
func cliLife(b *backend, path, root, kind, member, id, attestation string, missing, conflict int) {
	b.t.Helper()
	body := fmt.Sprintf(`{%q:%q,"attestation":%s,"capabilities":{"iotEdge":false},"provisioningStatus":"enabled","etag":null,"allocationPolicy":"hashed",`+
		`"reprovisionPolicy":{"updateHubAssignment":true,"migrateDeviceData":true},"initialTwin":{"tags":{"a":"b"},"properties":{"desired":{"c":1}}}}`, member, id, attestation)
	made := b.call("PUT", path, body)
	b.refusal(conflict, "PUT", path, body)
	if shown := b.call("GET", path, ""); shown.etag() != made.etag() || shown[member] != id || fmt.Sprint(shown.at("initialTwin.tags.a")) != "b" {
		b.t.Errorf("%v behind %v", shown, made)
	}
	keys := b.call("POST", path+"/attestationmechanism", "")
	if keys["type"] != made.at("attestation.type") || keys["type"] == "symmetricKey" && keys.at("symmetricKey.primaryKey") != made.at("attestation.symmetricKey.primaryKey") {
		b.t.Errorf("%v behind %v", keys, made)
	}
	pages := b.pages(root+"/query", "SELECT *", kind, 1, (*wire).head)
	if !slices.ContainsFunc(pages, func(page []kept) bool { return len(page) == 1 && page[0][member] == id }) {
		b.t.Errorf("%v", pages)
	}
	made["provisioningStatus"] = "disabled"
	next := b.call("PUT", path, made.text(), cliUpdate)
	if next["provisioningStatus"] != "disabled" || next.etag() == made.etag() {
		b.t.Errorf("%v", next)
	}
	b.refusal(412001, "PUT", path, made.text(), "If-Match: "+made.etag())
	b.call("PUT", path, next.text(), "If-Match: "+next.etag())
	b.call("DELETE", path, "", cliUpdate)
	b.refusal(missing, "GET", path, "")
	b.refusal(missing, "DELETE", path, "", cliUpdate)
}

func TestReplayCLIRegistrations(t *testing.T) {
	t.Parallel()
	k := open(t)
	b := k.backend(t, "2021-10-01")
	t.Run("DPS-289 as the Azure CLI speaks: compute-device-key and registration", func(t *testing.T) {
		b := b.in(t)
		b.call("PUT", "/enrollmentGroups/cli-g", keyedGroup("cli-g"))
		// The extension reads the key of the group and derives with it.
		group, _ := b.call("POST", "/enrollmentGroups/cli-g/attestationmechanism", "").at("symmetricKey.primaryKey").(string)
		for _, id := range []string{"cli-a", "cli-b"} {
			key, err := cred.Derive(group, id)
			if err != nil {
				t.Fatal(err)
			}
			d := k.device(t, id).withKey(key)
			d.admitted(t, cli.assigned(t, d, "mqtt", "initialAssignment"))
		}
		pages := b.pages("/registrations/cli-g/query", "", "DeviceRegistration", 1, (*wire).head)
		if got := fmt.Sprint(names(pages, "registrationId")); got != "[[cli-a] [cli-b]]" {
			t.Error(got)
		}
		shown := b.call("GET", "/registrations/cli-a", "")
		if shown["status"] != "assigned" || shown["deviceId"] != "cli-a" || shown["substatus"] != "initialAssignment" {
			t.Errorf("%v", shown)
		}
		b.refusal(412001, "DELETE", "/registrations/cli-a", "", "If-Match: \"other\"")
		b.call("DELETE", "/registrations/cli-a", "", "If-Match: "+shown.etag())
		b.refusal(404202, "GET", "/registrations/cli-a", "")
		b.call("DELETE", "/registrations/cli-b", "", cliUpdate)
		b.refusal(404202, "DELETE", "/registrations/cli-b", "", cliUpdate)
	})
	t.Run("DPS-289 as the Azure CLI speaks: members of an error", func(t *testing.T) {
		w, _ := b.in(t).send("GET", "/enrollments/none", "")
		var model map[string]json.RawMessage
		if w == nil || json.Unmarshal(w.body, &model) != nil {
			t.Fatalf("%+v", w)
		}
		for _, name := range []string{"errorCode", "trackingId", "message", "timestampUtc"} {
			if model[name] == nil {
				t.Errorf("%s is missing in %s", name, w.body)
			}
		}
	})
	t.Run("DPS-289 as the Azure CLI speaks: the key of the specification's vector", func(t *testing.T) {
		key, err := cred.Derive("8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==", "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6")
		if err != nil || key != "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=" {
			t.Error(key, err)
		}
	})
}
