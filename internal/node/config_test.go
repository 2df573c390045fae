package node_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/node"
)

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nave.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const example = `
data: /var/lib/nave
listen:
  mqtt: ":18883"
tls:
hub:
  host: myhub.example.test
  aliases: [gw.example.test, 10.0.0.1]
  units: 2
  feedbackEvery: PT1M30S
  events:
    retention: P1DT12H
    sources: [TwinChangeEvents]
  throttling:
    rates: {connect: 2.5}
  auth:
    oidc:
      issuers:
        - issuer: https://idp.example.test
          audiences: [a, b]
      roleMapping:
        "hub.admins": data owner
  policies:
    - {name: iothubowner, rights: "RegistryRead", primaryKey: a2V5}
  limits:
    c2d:
      maxPending: 7
    method.maxPayload: 1000
hubs:
  - host: second.example.test
    sku: S2
    events: {partitions: 8}
  - host: third.example.test
    limits: {c2d: {maxPending: 9}}
`

func TestLoad(t *testing.T) {
	c, err := node.Load(write(t, example), []string{"PATH=/bin", "NAVE_HUB_UNITS=3", "NAVE_LISTEN_HTTPS=:1443", "NAVE_HUB_LIMITS_C2D_MAXPENDING=8",
		"NAVE_HUB_ALIASES=x.test,y.test", "NAVE_CONFIG=elsewhere", "NAVE_TEST_LOG=1"}, map[string]any{"hub.units": "4", "listen.amqp": "off"})
	if err != nil {
		t.Fatal(err)
	}
	h := &c.Hub
	for _, test := range []struct {
		name      string
		got, want any
	}{
		{"default", c.Listen.Console, "127.0.0.1:8080"},
		{"file", c.Data, "/var/lib/nave"},
		{"nested in the file", c.Listen.MQTT, ":18883"},
		{"variable", c.Listen.HTTPS, ":1443"},
		{"set over variable over file", h.Units, 4},
		{"set", c.Listen.AMQP, "off"},
		{"variable over a list", h.Aliases, []string{"x.test", "y.test"}},
		{"ISO 8601", h.Feedback, 90 * time.Second},
		{"ISO 8601 with days", h.Events.Retention, 36 * time.Hour},
		{"Go's form by default", h.Events.ConnectionEvery, time.Minute},
		{"rates", h.Throttling.Rates, map[string]float64{"connect": 2.5}},
		{"issuers", h.Auth.OIDC.Issuers, []node.Issuer{{Issuer: "https://idp.example.test", Audiences: []string{"a", "b"}}}},
		{"map key with a dot", h.Auth.OIDC.Roles, map[string]string{"hub.admins": "data owner"}},
		{"policies", h.Policies, []node.Policy{{Name: "iothubowner", Rights: "RegistryRead", Primary: "a2V5"}}},
		{"hubs", len(c.Hubs), 2},
		{"hubs: own", c.Hubs[0].Events.Partitions, 8},
		{"hubs: default, not the first's", c.Hubs[0].Units, 1},
		{"hubs: default below own", c.Hubs[0].Events.Retention, 24 * time.Hour},
		{"hubs: no aliases of the first", c.Hubs[0].Aliases, []string(nil)},
	} {
		if !reflect.DeepEqual(test.got, test.want) {
			t.Errorf("%s: %#v, want %#v", test.name, test.got, test.want)
		}
	}
	if got := len(node.LimitSettings()); got == 0 {
		t.Error("no limits are listed")
	}
}

func TestLoadErrors(t *testing.T) {
	for _, test := range []struct {
		name, yaml, env, set string
		want                 string
	}{
		{name: "misspelt", yaml: "hub: {hots: x}", want: "there is no setting hub.hots, did you mean hub.host?"},
		{name: "other case", yaml: "listen: {HTTPS: ':1'}", want: "did you mean listen.https?"},
		{name: "misspelt section", yaml: "listn: {mqtt: ':1'}", want: "there is no setting listn, did you mean listen?"},
		{name: "wrong place", yaml: "partitionsXY: 3", want: "there is no setting partitionsXY, known there are data, node, store"},
		{name: "misspelt in hubs", yaml: "hubs: [{host: a.test, uniits: 3}]", want: "there is no setting hubs[0].uniits, did you mean hubs[0].units?"},
		{name: "misspelt in a list", yaml: "hub: {policies: [{nmae: x}]}", want: "did you mean hub.policies[0].name?"},
		{name: "section as a value", yaml: "listen: 8883", want: "listen is 8883, expected are settings below it: https, mqtt"},
		{name: "variable", env: "NAVE_LISTEN_MQT=:1", want: "the variable NAVE_LISTEN_MQT names no setting, did you mean NAVE_LISTEN_MQTT?"},
		{name: "set", set: "hub.unit", want: "did you mean hub.units?"},
		{name: "number", yaml: "hub: {units: many}", want: "hub.units"},
		{name: "number in hubs", yaml: "hubs: [{host: a.test, units: many}]", want: "hubs[0]"},
		{name: "duration", yaml: "hub: {feedbackEvery: soon}", want: `"soon" is no duration: write 90s, 15m, 48h or PT1M30S`},
		{name: "duration without a unit", yaml: "hub: {feedbackEvery: 15}", want: `"15" is no duration`},
		{name: "negative duration", yaml: "hub: {feedbackEvery: -1s}", want: "must be above zero"},
		{name: "retention", yaml: "hub: {events: {retention: 200h}}", want: "hub.events.retention is 200h0m0s: allowed are durations up to 168h0m0s"},
		{name: "partitions", yaml: "hub: {events: {partitions: 33}}", want: "hub.events.partitions is 33: allowed are 1 to 32"},
		{name: "host", yaml: "hub: {host: 'https://a.test'}", want: `hub.host is "https://a.test": a host name without port is needed`},
		{name: "equal hosts", yaml: "hub: {host: a.test}\nhubs: [{host: A.test}]", want: "two hubs have the host A.test"},
		{name: "hubs without host", yaml: "hubs: [{units: 2}]", want: "hubs[0] needs a host"},
		{name: "state", yaml: "hub: {state: asleep}", want: `hub.state is "asleep": allowed are active and suspended`},
		{name: "body form", yaml: "hub: {errors: {bodyForm: xml}}", want: `hub.errors.bodyForm is "xml": allowed are default, legacy, json, hybrid`},
		{name: "limit", yaml: "hub: {limits: {c2d: {maxPendnig: 3}}}", want: "hub.limits.c2d.maxPendnig is no limit, did you mean c2d.maxPending?"},
		{name: "limit zero", yaml: "hub: {limits: {c2d: {maxPending: 0}}}", want: "hub.limits.c2d.maxPending: must be above zero"},
		{name: "limit in hubs", yaml: "hubs: [{host: a.test, limits: {c2d: {maxPending: x}}}]", want: "hub.limits.c2d.maxPending"},
		{name: "role", yaml: "hub: {auth: {oidc: {issuers: [{issuer: 'https://a.test'}], roleMapping: {x: king}}}}", want: `hub.auth.oidc.roleMapping[x]: "king" is no role`},
		{name: "issuer", yaml: "hub: {auth: {oidc: {issuers: [{issuer: 'http://a.test'}]}}}", want: "an https URL is needed"},
		{name: "certificate alone", yaml: "tls: {cert: x.pem}", want: "tls.cert and tls.key go together"},
		{name: "certificate missing", yaml: "tls: {cert: /none/x.pem, key: /none/x.key}", want: "/none/x.pem"},
		{name: "no YAML", yaml: "hub: [", want: "can't be read"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var env []string
			set := map[string]any{}
			if test.env != "" {
				env = append(env, test.env)
			}
			if test.set != "" {
				set[test.set] = "1"
			}
			_, err := node.Load(write(t, test.yaml), env, set)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v\nwant %s", err, test.want)
			}
		})
	}
	if _, err := node.Load("/none/nave.yaml", nil, nil); err == nil || !strings.Contains(err.Error(), "/none/nave.yaml") {
		t.Errorf("missing file: %v", err)
	}
}
