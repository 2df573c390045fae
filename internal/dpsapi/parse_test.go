package dpsapi

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

func TestIsDPS(t *testing.T) {
	for name, want := range map[string]bool{
		"0ne00ABCDEF/registrations/dev-1/api-version=2019-03-31&ClientVersion=x": true,
		"0ne00ABCDEF/Registrations/dev-1/api-version=2019-03-31":                 true,
		"0ne00ABCDEF/registrations/dev-1":                                        true,
		"0ne00ABCDEF/registrations/dev-1/":                                       true,
		"hub.test/dev-1/?api-version=2021-04-12":                                 false,
		"hub.test/registrations/?api-version=2021-04-12":                         false,
		"hub.test/registrations/module/?api-version=2021-04-12":                  false,
		"hub.test/registrations/module":                                          false,
		"cdv_0123":                                                               false,
		"":                                                                       false,
	} {
		if got := IsDPS(name); got != want {
			t.Errorf("IsDPS(%q) is %t", name, got)
		}
	}
}

func TestUsername(t *testing.T) {
	c, err := parseUsername("0neA/registrations/symmetrickey%3Aabc/ClientVersion=a%26b%3D1&x&api-version=2019-03-31")
	if err != nil || c.Scope != "0neA" || c.ID != "symmetrickey:abc" || c.Client != "a&b=1" || c.Version.Day != "2019-03-31" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{"", "a", "a/registrations/b", "a/registrations/b/", "a/registrations/b/api-version=banana",
		"a/registrations/b/api-version=2099-01-01", "/registrations/b/api-version=2019-03-31", "a/registrations//api-version=2019-03-31",
		"a/devices/b/api-version=2019-03-31"} {
		if c, err := parseUsername(bad); err == nil {
			t.Errorf("%q gives %+v", bad, c)
		}
	}
}

func TestTopic(t *testing.T) {
	for topic, want := range map[string]deviceTopic{
		"$dps/registrations/PUT/iotdps-register/?$rid=1":                                  {verb: register, rid: "1"},
		"$dps/registrations/PUT/iotdps-register?$rid=abc%20d":                             {verb: register, rid: "abc%20d"},
		"$dps/registrations/PUT/iotdps-register/?x=y&$rid=":                               {verb: register},
		"$dps/registrations/GET/iotdps-get-operationstatus/?$rid=a=b&operationId=5.0.0":   {verb: status, rid: "a=b", operation: "5.0.0"},
		"$dps/registrations/GET/iotdps-get-operationstatus/?operationId=5.0.0&$rid=r&x=1": {verb: status, rid: "r", operation: "5.0.0"},
		"$dps/registrations/GET/iotdps-get-registration/?$rid=r":                          {verb: lookup, rid: "r"},
	} {
		got, err := parseTopic(topic)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", topic, got, err)
		}
	}
	for topic, code := range map[string]int{
		"$dps/registrations/POST/iotdps-register/?$rid=1":           405,
		"$dps/registrations/GET/iotdps-register/?$rid=1":            405,
		"$dps/registrations/PUT/iotdps-get-operationstatus/?$rid=1": 405,
		"$dps/registrations/PUT/iotdps-else/?$rid=1":                404,
		"$dps/registrations/?$rid=1":                                404,
		"$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1": 400,
	} {
		got, err := parseTopic(topic)
		if err != nil || got.wrong == nil || got.wrong.Code.HTTP != code {
			t.Errorf("%s: %+v, %v; want %d", topic, got, err, code)
		}
	}
	for _, topic := range []string{"", "devices/x/messages/events/", "$dps/registrations/PUT/iotdps-register/", "$dps/registrations/PUT/iotdps-register/?rid=1",
		"$dps/registrations/PUT/iotdps-register/?$rid=" + strings.Repeat("x", maxRID+1)} {
		if got, err := parseTopic(topic); err == nil {
			t.Errorf("%.60s: %+v", topic, got)
		}
	}
}

func TestAddress(t *testing.T) {
	for _, text := range []string{"0neA/registrations/a:b", "/0neA/registrations/a:b", "amqps://dps.test/0neA/registrations/a:b",
		"amqps://dps.test:5671/0neA/Registrations/a%3Ab/"} {
		if scope, id, err := parseAddress(text); err != nil || scope != "0neA" || id != "a:b" {
			t.Errorf("%s: %s %s, %v", text, scope, id, err)
		}
	}
	for _, text := range []string{"", "/", "0neA/registrations", "0neA/registrations/", "amqps://dps.test", "a/b/c", "a/registrations/b/c"} {
		if scope, id, err := parseAddress(text); err == nil {
			t.Errorf("%s: %s %s", text, scope, id)
		}
	}
}

func TestRetrySeconds(t *testing.T) {
	for d, want := range map[time.Duration]int{0: 3, -1: 3, time.Millisecond: 2, 2 * time.Second: 2, 2001 * time.Millisecond: 3, time.Hour: 300} {
		if got := retrySeconds(d); got != want {
			t.Errorf("%s is %d", d, got)
		}
	}
}

// FuzzTopic checks that what is answered has a topic that all SDKs can read.
func FuzzTopic(f *testing.F) {
	f.Add("$dps/registrations/PUT/iotdps-register/?$rid=1")
	f.Add("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=a&operationId=5.0.0")
	f.Add("$dps/registrations/GET/iotdps-get-operationstatus/?operationId=%zz&$rid=a=b")
	f.Add("$dps/registrations/?&&=&$rid")
	f.Fuzz(func(t *testing.T, topic string) {
		got, err := parseTopic(topic)
		if err != nil {
			return
		}
		if len(got.rid) > maxRID || !strings.Contains(topic, ridKey+"="+got.rid) && got.rid != "" {
			t.Errorf("rid %q of %q", got.rid, topic)
		}
		if got.wrong == nil && got.verb == status && got.operation == "" {
			t.Error("a poll without operation")
		}
		answer := string(appendResponseTopic(nil, 202, got.rid, 3))
		if answer != "$dps/registrations/res/202/?$rid="+got.rid+"&retry-after=3" {
			t.Error(answer)
		}
		if strings.Contains(got.rid, "&") {
			t.Errorf("rid %q would be cut", got.rid)
		}
	})
}

// FuzzUsername checks that a user name that is taken has all its parts.
func FuzzUsername(f *testing.F) {
	f.Add("0ne00ABCDEF/registrations/dev-1/api-version=2019-03-31&ClientVersion=py%2F1")
	f.Add("a/registrations/b%zz/ClientVersion=%&api-version=2025-07-01-preview")
	f.Add("////api-version=")
	f.Fuzz(func(t *testing.T, name string) {
		c, err := parseUsername(name)
		if err == nil && (c.Scope == "" || c.ID == "" && !strings.Contains(name, "%") || c.Version.Day == "" || !IsDPS(name) && !strings.Contains(name, "/?")) {
			t.Errorf("%q gives %+v", name, c)
		}
	})
}

// FuzzRegister checks register bodies: one that names a TPM is seen before the
// service judges it, and what is refused is refused as bad input.
func FuzzRegister(f *testing.F) {
	f.Add([]byte(`{"registrationId":"a","tpm":{"endorsementKey":"x"}}`))
	f.Add([]byte(`{"tpm":null,"payload":[1,{}],"csr":""}`))
	f.Add([]byte(`{"clientCertificateCsr":"-----BEGIN CERTIFICATE REQUEST-----"}`))
	f.Add([]byte(" "))
	f.Fuzz(func(t *testing.T, body []byte) {
		b := trim(body)
		if b == nil && len(bytes.TrimSpace(body)) > 0 {
			t.Error("a body was lost")
		}
		named := namesTPM(b)
		r, err := dps.ParseRequest(b, "a")
		if err != nil {
			if e := fault.From(err); e.Code.Family != fault.DPS || e.Code.HTTP != 400 && e.Code.HTTP != 413 {
				t.Errorf("%q: %v", b, err)
			}
			return
		}
		if r.EK != nil && !named {
			t.Errorf("%q names a TPM", b)
		}
	})
}

// FuzzRequest checks AMQP requests: an answer can be made for each that is
// taken.
func FuzzRequest(f *testing.F) {
	for _, m := range []*amqp.Message{
		{ApplicationProperties: amqp.Map{{Key: typeKey, Value: "iotdps-register"}}, Data: [][]byte{[]byte("{}")}},
		{ApplicationProperties: amqp.Map{{Key: typeKey, Value: "iotdps-get-operationstatus"}, {Key: operationKey, Value: "5.0.0"}},
			Properties: &amqp.Properties{CorrelationID: uint64(7)}, HasValue: true},
	} {
		b, err := m.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		r, err := parseRequest(payload)
		if err != nil {
			return
		}
		b, err := responseTo(r, &reply{body: []byte("{}"), retry: 3})
		if err != nil {
			t.Fatal(err)
		}
		m, err := amqp.ParseMessage(b)
		if err != nil || len(m.Data) != 1 || !utf8.Valid(m.Data[0]) {
			t.Errorf("%x: %v", b, err)
		}
	})
}

func TestProtocols(t *testing.T) {
	for _, path := range []string{"/", "/mqtt", "/$iothub/websocket", "/$IotHub/websocket"} {
		if !IsSocketPath(path) {
			t.Errorf("%s is no socket path", path)
		}
	}
	if IsSocketPath("/enrollments/a") {
		t.Error("/enrollments/a is a socket path")
	}
	for _, c := range []struct {
		offered         []string
		protocol, token string
	}{
		{[]string{"mqtt"}, MQTTProtocol, "mqtt"}, {[]string{"MQTT"}, MQTTProtocol, "MQTT"}, {[]string{"AMQPWSB10"}, AMQPProtocol, "AMQPWSB10"},
		{[]string{"other", "amqpwsb10", "mqtt"}, AMQPProtocol, "amqpwsb10"}, {nil, "", ""}, {[]string{"other"}, "", ""},
	} {
		if protocol, token := ChooseProtocol(c.offered); protocol != c.protocol || token != c.token {
			t.Errorf("%q: %s %s", c.offered, protocol, token)
		}
	}
	for query, want := range map[string]bool{"": false, "iothub-no-client-cert=true": true, "a=b&iothub-no-client-cert=True": true, "iothub-no-client-cert=false": false} {
		if got := WithoutCertificate(MQTTProtocol, query); got != want {
			t.Errorf("%q is %t", query, got)
		}
		if WithoutCertificate(AMQPProtocol, query) {
			t.Errorf("%q takes the certificate from AMQP", query)
		}
	}
}
