package controlapi_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/node"
)

// site is a real node over TLS with the plan of iot-v1 15.1. Its clock stands
// still.
type site struct {
	*navetest.Kit
	control *control.Control
	http    *http.Client
	codes   *codeCount
}

// codeCount counts the codes that answers bore.
type codeCount struct {
	mu sync.Mutex
	n  map[int]int
}

func openSite(t testing.TB, change ...func(*node.Config)) *site {
	t.Helper()
	k := navetest.Start(t, append([]func(*node.Config){func(c *node.Config) {
		c.Hub.Control.PlanValues = map[string]any{"request_max_bytes": 2048, "batch_max_items": 5}
		c.Hub.Control.TrustedProxies = []string{"127.0.0.1"}
		c.Store = os.Getenv("NAVE_TEST_POSTGRES") // "": SQLite
	}}, change...)...)
	k.Clock.Freeze(noon)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", k.Node.Address("https"))
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: k.Roots, ServerName: k.Hub.Host()}, DialContext: dial, MaxIdleConnsPerHost: 32}}
	t.Cleanup(c.CloseIdleConnections)
	return &site{Kit: k, control: k.Node.Control(k.Hub.Host()), http: c, codes: &codeCount{n: map[int]int{}}}
}

// row is one conformance row with fresh devices.
type row struct {
	*site
	*testing.T
	devices map[int]*unit
}

// row runs a subtest; its name begins with the row's id.
func (s *site) row(t *testing.T, name string, f func(x *row)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { f(&row{s, t, map[int]*unit{}}) })
}

// unit is a device of iot-v1 15.1.
type unit struct {
	x              *row
	n              int
	id, secret     string
	c1, c2, c3, c9 string
	s1, s2, s9     string
	kept           string // token
}

// d returns device n of the fixtures.
func (x *row) d(n int) *unit {
	x.Helper()
	if d := x.devices[n]; d != nil {
		return d
	}
	draft := control.Draft{}
	switch n {
	case 1:
		draft.Commands = []control.SourceDraft{
			{ControlSource: nave.ControlSource{Kind: "relay", PinPort: "6", Minimum: "0", Maximum: "1"}, Value: "0.0"},
			{ControlSource: nave.ControlSource{Kind: "valve", PinPort: "7", Minimum: "0", Maximum: "100", Adopt: true}, Value: "10"},
			{ControlSource: nave.ControlSource{Kind: "lamp", ValueType: "Color"}}}
		draft.Sensors = []control.SourceDraft{
			{ControlSource: nave.ControlSource{Kind: "thermistor", PinPort: "5", Quantity: "celsius_temperature", Unit: "degree_celsius:0", Minimum: "-40", Maximum: "125"}},
			{ControlSource: nave.ControlSource{Kind: "contact", PinPort: "4"}}}
	case 2:
		draft.Commands = []control.SourceDraft{{ControlSource: nave.ControlSource{Kind: "relay"}}}
		draft.Sensors = []control.SourceDraft{{ControlSource: nave.ControlSource{Kind: "thermistor", Unit: "degree_celsius:0"}}}
	case 3:
		draft.Device.Inactive = true
	case 4:
		draft.Device.Disabled = true
	case 5:
		draft.Device.Protocols = []string{"mqtt"}
		draft.Sensors = []control.SourceDraft{{ControlSource: nave.ControlSource{Kind: "thermistor"}}}
	case 6:
		draft.Device.Protocols = []string{"https"}
	}
	made, secret, err := x.control.Create(context.Background(), draft)
	if err != nil {
		x.Fatal(err)
	}
	d := &unit{x: x, n: n, id: made.ID, secret: secret}
	d.name(made)
	x.devices[n] = d
	return d
}

// another returns a second device n.
func (x *row) another(n int) *unit {
	x.Helper()
	delete(x.devices, n)
	return x.d(n)
}

func (d *unit) name(made *control.Device) {
	for _, s := range made.Sources {
		switch {
		case d.n == 2 && s.IsCommand():
			d.c9 = s.ID
		case d.n == 2:
			d.s9 = s.ID
		case s.Kind == "relay":
			d.c1 = s.ID
		case s.Kind == "valve":
			d.c2 = s.ID
		case s.Kind == "lamp":
			d.c3 = s.ID
		case s.Kind == "thermistor":
			d.s1 = s.ID
		case s.Kind == "contact":
			d.s2 = s.ID
		}
	}
}

// answer is a response that has been read and checked.
type answer struct {
	x      *row
	status int
	header http.Header
	raw    []byte
	body   map[string]any
	schema string
}

var requestID = regexp.MustCompile(`^req_[0-9a-hjkmnp-tv-z]{26}$`)

// do sends a request; header is "Name: value" each.
func (x *row) do(method, path, body string, header ...string) *answer {
	x.Helper()
	r, err := http.NewRequest(method, "https://"+x.Hub.Host()+path, strings.NewReader(body))
	if err != nil {
		x.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	if r.Header.Get("Transfer-Encoding") == "chunked" {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), -1
		r.Header.Del("Transfer-Encoding")
	}
	resp, err := x.http.Do(r)
	if err != nil {
		x.Error(err)
		return &answer{x: x}
	}
	defer resp.Body.Close()
	a := &answer{x: x, status: resp.StatusCode, header: resp.Header}
	if a.raw, err = io.ReadAll(resp.Body); err != nil {
		x.Error(err)
	}
	a.check(method, path)
	return a
}

// check holds every answer against what all must have.
func (a *answer) check(method, path string) {
	a.x.Helper()
	if !requestID.MatchString(a.header.Get("X-Request-Id")) {
		a.x.Errorf("X-Request-Id is %q", a.header.Get("X-Request-Id"))
	}
	if a.header.Get("Date") == "" {
		a.x.Error("no Date")
	}
	if len(a.raw) == 0 || method == "HEAD" {
		return
	}
	dec := json.NewDecoder(bytes.NewReader(a.raw))
	dec.UseNumber()
	if err := dec.Decode(&a.body); err != nil {
		a.x.Fatalf("%s %s: %v in %s", method, path, err, a.raw)
	}
	if a.header.Get("Content-Type") == "application/schema+json" {
		return
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
		a.x.Errorf("headers %v", a.header)
	}
	a.schema = schemaOf(path, a.status)
	if err := closedSchema(a.schema, a.raw); err != nil {
		a.x.Errorf("%s %s: %s is not valid against %s: %v", method, path, a.raw, a.schema, err)
	}
	if strings.HasPrefix(path, "/iot/") {
		a.code(path)
	}
}

func (a *answer) code(path string) {
	n := a.number("code")
	a.x.codes.mu.Lock()
	a.x.codes.n[n]++
	a.x.codes.mu.Unlock()
	if n == 2000 && strings.HasPrefix(path, "/iot/v1/devices/") && (a.header.Get("X-Catalog-Revision") == "" || a.header.Get("X-Runtime-Revision") == "") {
		a.x.Error("a success without revisions")
	}
	if n != 2000 && a.get("request_id") != a.header.Get("X-Request-Id") {
		a.x.Errorf("request_id %v", a.get("request_id"))
	}
	if n == 4029 || n == 5003 {
		if a.header.Get("Retry-After") == "" || a.header.Get("Retry-After") != fmt.Sprint(a.get("error.details.retry_after")) {
			a.x.Errorf("Retry-After %q, details %v", a.header.Get("Retry-After"), a.get("error.details.retry_after"))
		}
	}
}

func schemaOf(path string, status int) string {
	path, _, _ = strings.Cut(path, "?")
	oauth := strings.HasPrefix(path, "/oauth/")
	switch {
	case oauth && status >= 400:
		return "oauth-error-response"
	case status >= 400:
		return "http-error-response"
	case path == "/oauth/token":
		return "oauth-token-response"
	case oauth:
		return ""
	case strings.HasSuffix(path, "/batches"):
		return "http-feed-data-batch-result"
	case strings.HasSuffix(path, "/feed-data"):
		return "http-feed-data-result"
	case strings.HasSuffix(path, "/bootstrap"):
		return "http-bootstrap"
	case strings.HasSuffix(path, "/desired-states"):
		return "http-desired-states"
	case strings.HasSuffix(path, "/mqtt"):
		return "http-mqtt-catalog"
	case strings.HasSuffix(path, "/mqtt-credentials"):
		return "http-mqtt-credential"
	case strings.Contains(path, "/commands"):
		return "http-commands"
	}
	return "http-sensors"
}

// closed are the schemas as they are served, but closed: an object may have no
// members that they do not name (iot-v1 VE-4).
var closed = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	names, err := filepath.Glob("schema/*.schema.json")
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	var ids []string
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		shut(doc, "")
		id := doc.(map[string]any)["$id"].(string)
		if err := c.AddResource(id, doc); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	all := map[string]*jsonschema.Schema{}
	for _, id := range ids {
		name := strings.TrimSuffix(id[strings.LastIndex(id, "/")+1:], ".schema.json")
		if all[name], err = c.Compile(id); err != nil {
			return nil, err
		}
	}
	return all, nil
})

// shut closes objects, except those that are open by their nature.
func shut(v any, name string) {
	switch v := v.(type) {
	case map[string]any:
		_, has := v["properties"]
		_, decided := v["additionalProperties"]
		if v["type"] == "object" && has && !decided && name != "details" {
			v["additionalProperties"] = false
		}
		for key, below := range v {
			shut(below, key)
		}
	case []any:
		for _, below := range v {
			shut(below, "")
		}
	}
}

func closedSchema(name string, text []byte) error {
	if name == "" {
		return nil
	}
	all, err := closed()
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return all[name].Validate(doc)
}

// get walks the body: "error.details.errors.0.field".
func (a *answer) get(path string) any {
	var v any = map[string]any(a.body)
	for part := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[part]
		case []any:
			var n int
			if _, err := fmt.Sscan(part, &n); err != nil || n >= len(in) {
				return nil
			}
			v = in[n]
		default:
			return nil
		}
	}
	return v
}

func (a *answer) number(path string) int {
	n, _ := a.get(path).(json.Number)
	i, _ := n.Int64()
	return int(i)
}

// want checks status and code; more is pairs of path and value as text.
func (a *answer) want(status, code int, more ...string) *answer {
	a.x.Helper()
	if a.status != status || a.number("code") != code {
		a.x.Errorf("%d %s, want %d with code %d", a.status, a.raw, status, code)
		return a
	}
	for n := 0; n+1 < len(more); n += 2 {
		if got := fmt.Sprint(a.get(more[n])); got != more[n+1] {
			a.x.Errorf("%s is %s, want %s in %s", more[n], got, more[n+1], a.raw)
		}
	}
	return a
}

// reason checks an error with its details.reason.
func (a *answer) reason(status, code int, reason string, more ...string) *answer {
	a.x.Helper()
	return a.want(status, code, append([]string{"error.details.reason", reason}, more...)...)
}

// fields checks a 4022 with its entries, "pointer reason" each.
func (a *answer) fields(want ...string) *answer {
	a.x.Helper()
	a.reason(422, 4022, "validation")
	var got []string
	list, _ := a.get("error.details.errors").([]any)
	for _, e := range list {
		m := e.(map[string]any)
		got = append(got, fmt.Sprint(m["field"], " ", m["reason"]))
	}
	if !slices.Equal(got, want) {
		a.x.Errorf("errors %q, want %q", got, want)
	}
	return a
}

// warned checks the types of the warnings.
func (a *answer) warned(want ...string) *answer {
	a.x.Helper()
	var got []string
	list, _ := a.get("warnings").([]any)
	for _, e := range list {
		got = append(got, fmt.Sprint(e.(map[string]any)["type"]))
	}
	if !slices.Equal(got, want) {
		a.x.Errorf("warnings %q, want %q", got, want)
	}
	return a
}

const form = "Content-Type: application/x-www-form-urlencoded"

func basic(id, secret string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

// tokenRequest calls the token endpoint.
func (d *unit) tokenRequest(body string) *answer {
	d.x.Helper()
	return d.x.do("POST", "/oauth/token", body, form, basic(d.id, d.secret))
}

// token returns a token with these scopes, all the device may have for none.
func (d *unit) token(scopes ...string) string {
	d.x.Helper()
	if scopes == nil {
		scopes = append(scopes, control.HTTPSScopes...)
		if d.n != 6 {
			scopes = append(scopes, control.MQTTScopes...)
		}
	}
	a := d.tokenRequest("grant_type=client_credentials&scope=" + url.QueryEscape(strings.Join(scopes, " ")))
	if a.status != 200 {
		d.x.Fatalf("no token: %s", a.raw)
	}
	return a.body["access_token"].(string)
}

func bearer(token string) string { return "Authorization: Bearer " + token }

// path is a path below the device.
func (d *unit) path(rest string) string { return "/iot/v1/devices/" + d.id + "/" + rest }

// read gets a path of the device with a token of all scopes.
func (d *unit) read(rest string) *answer {
	d.x.Helper()
	return d.x.do("GET", d.path(rest), "", bearer(d.token()))
}

const jsonBody = "Content-Type: application/json"

// feed posts an item, or any body.
func (d *unit) feed(body any, header ...string) *answer {
	d.x.Helper()
	return d.post("feed-data", body, header...)
}

func (d *unit) batch(items ...any) *answer {
	d.x.Helper()
	return d.post("feed-data/batches", object{"items": items})
}

func (d *unit) post(rest string, body any, header ...string) *answer {
	d.x.Helper()
	text, ok := body.(string)
	if !ok {
		b, err := json.Marshal(body)
		if err != nil {
			d.x.Fatal(err)
		}
		text = string(b)
	}
	if !slices.ContainsFunc(header, func(h string) bool { return strings.HasPrefix(h, "Authorization") }) {
		header = append(header, bearer(d.token()))
	}
	return d.x.do("POST", d.path(rest), text, append([]string{jsonBody}, header...)...)
}

type object map[string]any

// with returns a copy with fields added or replaced, pairs of name and value;
// the value absent removes the field.
func (o object) with(pairs ...any) object {
	out := object{}
	for k, v := range o {
		out[k] = v
	}
	for n := 0; n < len(pairs); n += 2 {
		if pairs[n+1] == absent {
			delete(out, pairs[n].(string))
			continue
		}
		out[pairs[n].(string)] = pairs[n+1]
	}
	return out
}

var absent = any(reflect.TypeFor[object]())

// i0, k0 are the items of iot-v1 15.1.
func (d *unit) i0() object {
	return object{"message_id": "m-1", "sensor_id": d.s1, "value": "21.5", "value_received_at": "2026-05-01T11:59:58Z"}
}

func (d *unit) k0() object {
	return object{"message_id": "k-1", "command_id": d.c1, "value": "1.0", "value_received_at": "2026-05-01T11:59:58Z"}
}

// g1 makes the pending desired state of iot-v1 15.1: sequence 7, issued
// 11:57:41Z.
func (d *unit) g1() *nave.DesiredState {
	d.x.Helper()
	d.x.Clock.Freeze(noon.Add(-2*time.Minute - 19*time.Second))
	defer d.x.Clock.Freeze(noon)
	var g *nave.DesiredState
	for range 7 {
		g = d.set(d.c1, "1.0")
	}
	return g
}

func (d *unit) a1(g *nave.DesiredState) object {
	return d.k0().with("desired_id", g.ID, "report_status", "applied", "sequence_number", 7)
}

func (d *unit) set(command, value string) *nave.DesiredState {
	d.x.Helper()
	g, err := d.x.control.Set(context.Background(), d.id, command, value, "a person")
	if err != nil {
		d.x.Fatal(err)
	}
	return g
}

// state returns what the hub knows of a source.
func (d *unit) state(source string) nave.ControlState {
	d.x.Helper()
	made, err := d.x.control.Device(context.Background(), d.id)
	if err != nil {
		d.x.Fatal(err)
	}
	states, err := made.States(context.Background())
	if err != nil {
		d.x.Fatal(err)
	}
	for _, s := range made.Sources {
		if s.ID == source {
			return states[s.No]
		}
	}
	d.x.Fatalf("no source %s", source)
	return nave.ControlState{}
}

// reported checks the reported and, unless it is "", the desired value.
func (d *unit) reported(source, value, desired string) {
	d.x.Helper()
	if s := d.state(source); s.Value != value || desired != "" && s.Desired != desired {
		d.x.Errorf("reported %q, desired %q, want %q and %q", s.Value, s.Desired, value, desired)
	}
}

// became checks the status of a desired state.
func (d *unit) became(g *nave.DesiredState, status string) {
	d.x.Helper()
	got, err := d.x.control.Desired(context.Background(), g.ID)
	if err != nil || got.Status != status {
		d.x.Errorf("the desired state is %+v, %v, want %s", got, err, status)
	}
}

// stored checks how many items of a source are in the history.
func (d *unit) stored(source string, want int) []*nave.ControlFeedRow {
	d.x.Helper()
	all, err := d.x.control.History(context.Background(), d.id, source, 0, 100)
	if err != nil || len(all) != want {
		d.x.Errorf("%d items stored, %v, want %d", len(all), err, want)
	}
	return all
}

// inject makes an operation fail until the row ends.
func (d *unit) inject(r gate.Rule) (clear func()) {
	d.x.Helper()
	r.Device = d.id
	r, err := d.x.Hub.InjectFault(r)
	if err != nil {
		d.x.Fatal(err)
	}
	over := sync.OnceFunc(func() { d.x.Hub.RemoveFault(r.ID) })
	d.x.Cleanup(over)
	return over
}
