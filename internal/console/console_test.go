package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/console"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/hubhttp"
	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/navetest"
)

const token = "correct horse"

// rig is a console over a node.
type rig struct {
	*navetest.Kit
	t      *testing.T
	url    string
	recent *console.Recent
}

func start(t *testing.T) *rig {
	t.Helper()
	k := navetest.Start(t)
	recent := console.NewRecent(10)
	h := console.New(console.Options{Hubs: k.Node.Hubs(), Token: token, Version: "test", Node: "n1", Hosts: []string{"console.test"}, Recent: recent,
		Rest: func(h *hub.Hub) http.Handler {
			return hubhttp.New(hubhttp.Options{Hub: h}).As(hub.Operator())
		},
		Addresses: func() map[string]string { return map[string]string{"mqtt": k.Node.Address("mqtt")} }, CAFile: k.Node.CAFile()})
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return &rig{k, t, s.URL, recent}
}

func (r *rig) request(method, path, body string, header ...string) *http.Request {
	r.t.Helper()
	q, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+token)
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		if q.Header.Set(name, value); name == "Host" {
			q.Host = value
		}
		if value == "" {
			q.Header.Del(name)
		}
	}
	return q
}

// do sends a request, checks the status, and reads the answer into out.
func (r *rig) do(want int, out any, method, path, body string, header ...string) *http.Response {
	r.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r.request(method, path, body, header...))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.StatusCode != want {
		r.t.Fatalf("%s %s: %d, want %d: %s", method, path, resp.StatusCode, want, b)
	}
	switch v := out.(type) {
	case nil:
	case *string:
		*v = string(b)
	default:
		if err := json.Unmarshal(b, out); err != nil {
			r.t.Fatalf("%s %s: %v: %s", method, path, err, b)
		}
	}
	return resp
}

// line registers a device and returns its handle, as over HTTPS.
func (r *rig) line(name string) *hub.Line {
	r.t.Helper()
	d := r.Device(name)
	who, err := r.Hub.Authenticate(context.Background(), cred.Claim{SAS: d.Token()}, d.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	l, err := r.Hub.Connect(context.Background(), who, d.ID, hub.Arrival{Protocol: "https"})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { l.Close(nil) })
	return l
}

type failure struct {
	Error struct {
		Code       int
		Name       string
		Message    string
		Fix, Retry string
		TrackingID string
	}
}

func TestAdmission(t *testing.T) {
	r := start(t)
	for _, c := range []struct{ name, path, header string }{
		{"no token", "/api/status", "Authorization: "},
		{"bad token", "/api/status", "Authorization: Bearer correct horsf"},
		{"token in the query of the API", "/api/status?token=correct+horse", "Authorization: "},
		{"another scheme", "/api/status", "Authorization: Basic correct horse"},
		{"foreign host", "/api/status", "Host: evil.example"},
		{"foreign host that starts like a loopback one", "/api/status", "Host: localhost.evil.example:80"},
		{"rest without token", "/api/hubs/hub.test/rest/devices", "Authorization: "},
		{"page of a foreign host", "/", "Host: evil.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f failure
			resp := r.do(http.StatusUnauthorized, &f, "GET", c.path, "", c.header)
			if f.Error.Name == "" || f.Error.Fix == "" || f.Error.TrackingID == "" || f.Error.Retry == "" {
				t.Errorf("incomplete error: %+v", f)
			}
			if resp.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Error("CORS header")
			}
		})
	}
	for _, host := range []string{"localhost:9", "127.0.0.1", "127.9.9.9:1", "[::1]:80", "console.test:8080", "LOCALHOST"} {
		r.do(http.StatusOK, nil, "GET", "/api/status", "", "Host: "+host)
	}
}

func TestStatus(t *testing.T) {
	r := start(t)
	r.Device("d1").Connect(mqtt.ClientHandler{})
	r.Device("d2/m")
	var s struct {
		Version, Node, CAFile string
		Addresses             map[string]string
		Hubs                  []struct {
			Host                                     string
			Connections, Devices, Connected, Modules int
		}
	}
	r.do(http.StatusOK, &s, "GET", "/api/status", "")
	if len(s.Hubs) != 1 || s.Hubs[0].Host != navetest.Host || s.Hubs[0].Connections != 1 || s.Hubs[0].Devices != 2 || s.Hubs[0].Modules != 1 || s.Hubs[0].Connected != 1 {
		t.Errorf("hubs are %+v", s.Hubs)
	}
	if s.Node != "n1" || s.CAFile == "" || s.Addresses["mqtt"] == "" {
		t.Errorf("status is %+v", s)
	}
}

func TestStrings(t *testing.T) {
	r := start(t)
	var s struct{ Service, EventHub string }
	r.do(http.StatusOK, &s, "GET", "/api/hubs/HUB.test/strings", "")
	service, err := cred.ParseConnectionString(s.Service)
	if err != nil || service.HostName != navetest.Host || service.Policy != "iothubowner" {
		t.Errorf("service string: %v, %v", service, err)
	}
	events, err := cred.ParseConnectionString(s.EventHub)
	if err != nil || events.Endpoint != "sb://hub.test/" || events.EntityPath != "hub" || events.Policy != "service" {
		t.Errorf("Event Hubs string: %v, %v", events, err)
	}
}

func TestRest(t *testing.T) {
	r := start(t)
	for _, id := range []string{"plain", "..", "a%23b%3Fc%25d"} {
		var d struct{ DeviceID string }
		r.do(http.StatusOK, &d, "PUT", "/api/hubs/hub.test/rest/devices/"+id+"?api-version=2021-04-12", "{}")
		r.do(http.StatusOK, &d, "GET", "/api/hubs/hub.test/rest/devices/"+id+"?api-version=2021-04-12", "")
	}
	if _, err := r.Backend.Device(context.Background(), nave.ID{Device: "a#b?c%d"}); err != nil {
		t.Error(err)
	}
	if _, err := r.Backend.Device(context.Background(), nave.ID{Device: ".."}); err != nil {
		t.Error(err)
	}
	resp := r.do(http.StatusNotFound, nil, "GET", "/api/hubs/hub.test/rest/devices/nobody?api-version=2021-04-12", "")
	if name := resp.Header.Get("iothub-errorcode"); name != "DeviceNotFound" {
		t.Errorf("iothub-errorcode is %q", name)
	}
}

func TestUnknown(t *testing.T) {
	r := start(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		name               string
	}{
		{"GET", "/api/nothing", "", 404, "GenericNotFound"},
		{"POST", "/api/status", "", 404, "GenericNotFound"},
		{"GET", "/api/hubs/other.test/strings", "", 404, "IotHubNotFound"},
		{"GET", "/api/hubs/other.test/rest/devices", "", 404, "IotHubNotFound"},
		{"GET", "/api/hubs/hub.test/events?from=yesterday", "", 400, "ArgumentInvalid"},
		{"GET", "/api/hubs/hub.test/events?from=-x", "", 400, "ArgumentInvalid"},
		{"GET", "/api/hubs/hub.test/events?partition=4", "", 503, "PartitionNotFound"},
		{"POST", "/api/hubs/hub.test/c2d", "{", 400, "ArgumentInvalid"},
		{"POST", "/api/hubs/hub.test/c2d", `{"device":"d"}`, 400, "ArgumentInvalid"},
		{"POST", "/api/hubs/hub.test/c2d", `{"deviceId":"d","body":"x","bodyEncoding":"hex"}`, 400, "ArgumentInvalid"},
		{"POST", "/api/hubs/hub.test/c2d", `{"deviceId":"nobody","body":"x"}`, 404, "DeviceNotFound"},
		{"GET", "/api/hubs/hub.test/feedback?wait=1h", "", 400, "ArgumentInvalid"},
		{"POST", "/api/hubs/hub.test/faults", `{"code":1}`, 400, "ArgumentInvalid"},
		{"POST", "/api/hubs/hub.test/faults", `{"code":503001,"retryAfter":"soon"}`, 400, "ArgumentInvalid"},
		{"DELETE", "/api/hubs/hub.test/faults/none", "", 404, "GenericNotFound"},
		{"PUT", "/api/hubs/hub.test/policies/p", `{"rights":"Everything"}`, 400, "ArgumentInvalid"},
		{"PUT", "/api/hubs/hub.test/policies/p", `{"name":"q","rights":"RegistryRead"}`, 400, "ArgumentInvalid"},
		{"DELETE", "/api/hubs/hub.test/policies/none", "", 404, "GenericNotFound"},
		{"PUT", "/api/hubs/hub.test/groups/-x", "", 400, "ArgumentInvalid"},
		{"DELETE", "/api/hubs/hub.test/groups/none", "", 404, "GenericNotFound"},
		{"DELETE", "/api/hubs/hub.test/groups/$default", "", 400, "ArgumentInvalid"},
		{"PUT", "/api/hubs/hub.test/authorities/a", "no PEM", 400, "ArgumentInvalid"},
		{"DELETE", "/api/hubs/hub.test/authorities/none", "", 404, "CertificateNotFound"},
		{"GET", "/api/recent?top=none", "", 400, "ArgumentInvalid"},
	} {
		t.Run(c.method+" "+c.path+" "+c.body, func(t *testing.T) {
			want := c.status
			if code := fault.ByName(c.name); code != nil {
				want = code.HTTP
			}
			var f failure
			r.t = t
			r.do(want, &f, c.method, c.path, c.body)
			if f.Error.Name != c.name || f.Error.Message == "" || f.Error.Fix == "" {
				t.Errorf("error is %+v", f.Error)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	r := start(t)
	line, other := r.line("d1"), r.line("d2")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	resp, err := http.DefaultClient.Do(r.request("GET", "/api/hubs/hub.test/events?device=d1", "").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	send := func(l *hub.Line, body string, y nave.System) {
		done := make(chan error, 1)
		l.Send(&nave.Message{Body: []byte(body), System: y, App: []nave.Property{{Name: "p", Value: "v", HasValue: true}, {Name: "flag"}}}, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	send(other, "not for us", nave.System{})
	send(line, "{\"t\": 21}", nave.System{ContentType: "application/json", MessageID: "m1"})
	send(line, "text\n", nave.System{})
	send(line, "\xff", nave.System{})
	lines := bufio.NewScanner(resp.Body)
	for _, want := range []string{`"body":{"t":21}`, `"body":"text\n"`, `"body":"/w==","bodyEncoding":"base64"`} {
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		if text := lines.Text(); !strings.Contains(text, want) || !strings.Contains(text, `"deviceId":"d1"`) || !strings.Contains(text, `"properties":{"flag":null,"p":"v"}`) {
			t.Errorf("line is %s, want %s", text, want)
		}
	}
	r.replay(ctx, "earliest", 4)
	r.replay(ctx, "-1h", 4)
	r.replay(ctx, time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), 4)
}

// replay reads n lines from a position.
func (r *rig) replay(ctx context.Context, from string, n int) {
	r.t.Helper()
	resp, err := http.DefaultClient.Do(r.request("GET", "/api/hubs/hub.test/events?from="+from, "").WithContext(ctx))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for range n {
		if !lines.Scan() {
			r.t.Fatalf("from %s: %v", from, lines.Err())
		}
	}
}

func TestC2D(t *testing.T) {
	r := start(t)
	line := r.line("d1")
	var sent struct {
		MessageID      string
		SequenceNumber int64
		ExpiryTimeUTC  string
	}
	r.do(http.StatusCreated, &sent, "POST", "/api/hubs/hub.test/c2d", `{"deviceId":"d1","body":{"led":"on"},"properties":{"a":"b"},"system":{"ack":"full"}}`)
	if len(sent.MessageID) != 36 || sent.ExpiryTimeUTC == "" {
		t.Errorf("answer is %+v", sent)
	}
	m, err := line.Receive(context.Background(), 0)
	if err != nil || m == nil {
		t.Fatal(m, err)
	}
	if v, _ := m.AppValue("a"); string(m.Body) != `{"led":"on"}` || v != "b" || m.System.MessageID != sent.MessageID {
		t.Errorf("message is %+v", m)
	}
	if err := line.Settle(context.Background(), m.Lock, nave.Complete); err != nil {
		t.Fatal(err)
	}
	var records []struct{ OriginalMessageID, StatusCode, DeviceID string }
	r.do(http.StatusOK, &records, "GET", "/api/hubs/hub.test/feedback?wait=30s", "")
	if len(records) != 1 || records[0].OriginalMessageID != sent.MessageID || records[0].StatusCode != "Success" || records[0].DeviceID != "d1" {
		t.Errorf("feedback is %+v", records)
	}
	r.do(http.StatusOK, &records, "GET", "/api/hubs/hub.test/feedback", "")
	r.do(http.StatusOK, &records, "GET", "/api/hubs/hub.test/feedback?wait=1ms", "")
	if len(records) != 0 {
		t.Errorf("feedback came twice: %+v", records)
	}
}

func TestFaults(t *testing.T) {
	r := start(t)
	r.Device("d1")
	var rule struct {
		ID, Name, RetryAfter string
		Count                int
	}
	r.do(http.StatusCreated, &rule, "POST", "/api/hubs/hub.test/faults", `{"op":"registry.*","deviceId":"d1","code":503001,"count":2,"retryAfter":"5s"}`)
	if rule.ID == "" || rule.Name != "ServiceUnavailable" || rule.RetryAfter != "5s" {
		t.Errorf("rule is %+v", rule)
	}
	if _, err := r.Backend.Device(context.Background(), nave.ID{Device: "d1"}); err == nil {
		var usage struct {
			Operations map[string]struct{ Count int }
		}
		r.do(http.StatusOK, &usage, "GET", "/api/hubs/hub.test/usage", "")
		t.Errorf("the operation was not struck; operations are %v", usage.Operations)
	} else if !errors.Is(err, fault.ServiceUnavailable) {
		t.Error(err)
	}
	var rules []struct {
		ID    string
		Count int
	}
	r.do(http.StatusOK, &rules, "GET", "/api/hubs/hub.test/faults", "")
	if len(rules) != 1 || rules[0].Count != 1 {
		t.Errorf("rules are %+v", rules)
	}
	r.do(http.StatusNoContent, nil, "DELETE", "/api/hubs/hub.test/faults/"+rule.ID, "")
	r.do(http.StatusCreated, nil, "POST", "/api/hubs/hub.test/faults", `{"code":503001,"deviceId":"nobody"}`)
	r.do(http.StatusNoContent, nil, "DELETE", "/api/hubs/hub.test/faults", "")
	r.do(http.StatusOK, &rules, "GET", "/api/hubs/hub.test/faults", "")
	if len(rules) != 0 {
		t.Errorf("rules are %+v", rules)
	}
	var usage struct {
		Operations map[string]struct{ Count int }
	}
	r.do(http.StatusOK, &usage, "GET", "/api/hubs/hub.test/usage", "")
	if len(usage.Operations) == 0 {
		t.Error("no usage")
	}
}

func TestPolicies(t *testing.T) {
	r := start(t)
	var p struct{ Name, Rights, PrimaryKey, ConnectionString string }
	r.do(http.StatusOK, &p, "PUT", "/api/hubs/hub.test/policies/backend", `{"rights":"ServiceConnect, RegistryRead"}`)
	if p.Name != "backend" || p.Rights != "RegistryRead, ServiceConnect" || p.PrimaryKey == "" || !strings.Contains(p.ConnectionString, "SharedAccessKeyName=backend") {
		t.Errorf("policy is %+v", p)
	}
	r.do(http.StatusNoContent, nil, "DELETE", "/api/hubs/hub.test/policies/backend", "")
	var all []struct{ Name string }
	r.do(http.StatusOK, &all, "GET", "/api/hubs/hub.test/policies", "")
	if len(all) != 5 {
		t.Errorf("policies are %v", all)
	}
}

func TestGroups(t *testing.T) {
	r := start(t)
	var g struct{ Name string }
	r.do(http.StatusOK, &g, "PUT", "/api/hubs/hub.test/groups/dashboard", "")
	if g.Name != "dashboard" {
		t.Errorf("group is %+v", g)
	}
	var all []struct{ Name string }
	r.do(http.StatusOK, &all, "GET", "/api/hubs/hub.test/groups", "")
	if len(all) != 2 || all[0].Name != "$Default" || all[1].Name != "dashboard" {
		t.Errorf("groups are %v", all)
	}
	r.do(http.StatusNoContent, nil, "DELETE", "/api/hubs/hub.test/groups/Dashboard", "")
	r.do(http.StatusOK, &all, "GET", "/api/hubs/hub.test/groups", "")
	if len(all) != 1 {
		t.Errorf("groups are %v", all)
	}
}

func TestAuthorities(t *testing.T) {
	r := start(t)
	ca, err := cred.NewCA("plant", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pem, _ := ca.PEM()
	var a struct {
		Name, Subject, Thumbprint string
		Verified                  bool
	}
	r.do(http.StatusOK, &a, "PUT", "/api/hubs/hub.test/authorities/plant", string(pem))
	if a.Name != "plant" || !strings.Contains(a.Subject, "plant") || len(a.Thumbprint) != 64 || !a.Verified {
		t.Errorf("authority is %+v", a)
	}
	r.do(http.StatusNoContent, nil, "DELETE", "/api/hubs/hub.test/authorities/plant", "")
	var all []any
	r.do(http.StatusOK, &all, "GET", "/api/hubs/hub.test/authorities", "")
	if len(all) != 0 {
		t.Errorf("authorities are %v", all)
	}
}

func TestRecent(t *testing.T) {
	r := start(t)
	for range 20 {
		r.recent.Record("hub.test", "connect", nave.ID{Device: "d1"}, fault.IotHubUnauthorized.New("the token has expired"))
	}
	r.recent.Record("hub.test", "method.invoke", nave.ID{Device: "d2", Module: "m"}, fault.DeviceNotOnline.New("d2 is offline"))
	r.recent.Record("hub.test", "connect", nave.ID{}, nil)
	for query, want := range map[string]int{"": 10, "?device=d1": 9, "?device=d2": 1, "?code=404103": 1, "?code=devicenotonline": 1, "?hub=other": 0, "?top=3": 3, "?device=d2&module=x": 0} {
		var all []console.Occurrence
		r.do(http.StatusOK, &all, "GET", "/api/recent"+query, "")
		if len(all) != want {
			t.Errorf("recent%s has %d, want %d", query, len(all), want)
		}
		if query == "" && (all[0].Device != "d2" || all[0].Fix == "" || all[0].Tracking == "") {
			t.Errorf("the newest is %+v", all[0])
		}
	}
}

func TestPage(t *testing.T) {
	r := start(t)
	none := "Authorization: "
	r.do(http.StatusUnauthorized, nil, "GET", "/", "", none)
	r.do(http.StatusUnauthorized, nil, "GET", "/?token=wrong", "", none)
	r.do(http.StatusUnauthorized, nil, "GET", "/", "", none, "Cookie: nave_console=wrong")
	resp := r.do(http.StatusSeeOther, nil, "GET", "/?token=correct+horse", "", none)
	c := resp.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || strings.Contains(c.Value, token) {
		t.Errorf("cookie is %v", c)
	}
	r.recent.Record("hub.test", "connect", nave.ID{Device: "<script>"}, fault.IotHubUnauthorized.New("the <b>token</b> has expired"))
	var text string
	resp = r.do(http.StatusOK, &text, "GET", "/", "", none, "Cookie: "+c.Name+"="+c.Value)
	for _, want := range []string{"hub.test", "401002", "What to do:", "&lt;script&gt;", "&lt;b&gt;", "viewport", "http-equiv=\"refresh\""} {
		if want == "401002" {
			want = fault.IotHubUnauthorized.Name
		}
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(text, "<script") || strings.Contains(text, "SharedAccessKey=") || strings.Contains(text, "src=") {
		t.Error("the page holds scripts, keys or foreign resources")
	}
	styleHash(t, text, resp.Header.Get("Content-Security-Policy"))
	r.do(http.StatusUnauthorized, nil, "GET", "/api/status", "", none, "Cookie: "+c.Name+"="+c.Value)
}
