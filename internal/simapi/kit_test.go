package simapi_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/oauth"
	"github.com/nave-hub/nave/internal/sim"
	"github.com/nave-hub/nave/internal/simapi"
	"github.com/nave-hub/nave/internal/store"
)

const (
	host = "hub.example.com"
	b    = "/api/connectivity/v1/acme" // {b} of connectivity-api 16.1
	aam  = "/api/applications/v1/acme"
)

// patience is for what must come, and comes at once unless something is wrong.
const patience = 2 * time.Minute

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Products of connectivity-api 16.1.
const (
	s1 = "HUBSIM-8900101000000000019"
	s2 = "HUBSIM-8900101000000000027"
	s3 = "HUBSIM-8900101000000000035"
	s4 = "HUBSIM-8900101000000000043"
	s5 = "HUBSIM-8900101000000000050"
	s6 = "HUBSIM-8900101000000000068"
	s7 = "ASIM-8900101000000000076"
	s8 = "RMT-8900101000000000084"
	s9 = "HUBSIM-8900101000000000092"
)

// stage is the surface on real store, bus, hubs and domain, with the fixture of
// connectivity-api 16.1 and a clock that stands still.
type stage struct {
	*simapi.Server
	apps   *oauth.Apps
	sim    *sim.Service
	db     *store.DB
	bus    *bus.Bus
	hubs   map[string]*hub.Hub
	gates  []*gate.Gate
	remote *remote
	time   atomic.Int64

	w, r, a    *oauth.App // applications W, R and A
	tokens     map[*oauth.App]string
	o          simapi.Options
	simOptions sim.Options
}

func (s *stage) now() time.Time { return time.Unix(0, s.time.Load()).UTC() }

// move sets the clock and does what is due.
func (s *stage) move(t testing.TB, at time.Time) {
	t.Helper()
	s.time.Store(at.UnixNano())
	if err := s.sim.Tick(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// open makes a stage; change may alter the options of the surface.
func open(t testing.TB, change ...func(*simapi.Options)) *stage {
	t.Helper()
	s := &stage{hubs: map[string]*hub.Hub{}, tokens: map[*oauth.App]string{}}
	s.time.Store(time.Date(2026, 2, 28, 12, 0, 0, 0, time.UTC).UnixNano())
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	at, own := "sqlite::memory:", ""
	if postgres := os.Getenv("NAVE_TEST_POSTGRES"); postgres != "" {
		at, own = postgres, rand.Text() // stages share the database
	}
	s.db, err = store.Open(ctx, at, store.Options{Now: s.now, Log: quiet()})
	must(err)
	apps := s.db.Scope(own)
	s.bus, err = bus.Open(ctx, bus.Options{Dir: t.TempDir(), Now: s.now, Log: quiet()})
	must(err)
	s.simOptions = sim.Options{Bus: s.bus, Key: bytes.Repeat([]byte{7}, 32), Log: quiet()}
	for _, name := range []string{"acme", "globex"} {
		db := s.db.Scope(name + ".test" + own)
		g, err := gate.New(ctx, gate.Options{Hub: name + ".test", DB: db, Now: s.now, Log: quiet()})
		must(err)
		h, err := hub.Open(ctx, hub.Options{Host: name + ".test", DB: db, Bus: s.bus, Gate: g, Log: quiet(), Limits: nave.Defaults()})
		must(err)
		s.hubs[name], s.gates = h, append(s.gates, g)
		s.simOptions.Tenants = append(s.simOptions.Tenants, sim.TenantOptions{Name: name, Hub: h, DB: db, Gate: g})
	}
	must(apps.Update(ctx, func(tx *store.Tx) error {
		return tx.InsertTokenKey(&store.TokenKey{ID: "k1", Sealed: signingKey(), Created: s.now()})
	}))
	s.apps, err = oauth.OpenApps(ctx, oauth.AppsOptions{Host: host, DB: apps, Bus: s.bus, Log: quiet()})
	must(err)
	s.sim, err = sim.Open(ctx, s.simOptions)
	must(err)
	t.Cleanup(func() {
		s.apps.Close()
		if err := errors.Join(s.sim.Close(), s.hubs["acme"].Close(), s.hubs["globex"].Close(), s.gates[0].Close(), s.gates[1].Close(), s.bus.Close(), s.db.Close()); err != nil {
			t.Error(err)
		}
	})
	s.remote = openRemote(t)
	s.fill(t)
	s.o = simapi.Options{Sim: s.sim, Apps: s.apps, Host: host, Log: quiet(), Limits: simapi.Limits{PerAddress: 100_000, PerTenant: 100_000}}
	for _, f := range change {
		f(&s.o)
	}
	s.Server = simapi.New(s.o)
	s.move(t, noon)
	return s
}

// signingKey is one key for all stages, as the store keeps it: making one takes
// longer than all the rest.
var signingKey = sync.OnceValue(func() []byte {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		panic(err)
	}
	return append([]byte{0}, der...)
})

// restart ends the domain and opens it again on the same store (MO-8).
func (s *stage) restart(t testing.TB) {
	t.Helper()
	if err := s.sim.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.sim, err = sim.Open(context.Background(), s.simOptions); err != nil {
		t.Fatal(err)
	}
	s.o.Sim = s.sim
	s.Server = simapi.New(s.o)
}

// operator is the domain as an administrator who may do everything.
func (s *stage) operator(tenant string) *sim.Access {
	return s.sim.Tenant(tenant).As(sim.Actor{Type: sim.User, ID: "operator", Rights: sim.Read | sim.Write | sim.Administer})
}

// fill makes the fixture.
func (s *stage) fill(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	x := s.operator("acme")
	limit := int64(500_000_000)
	for _, a := range []sim.Account{
		{Account: "HUBSIM_1", Platform: "HUBSIM", Adapter: "embedded", Enabled: true, Mode: sim.Sync},
		{Account: "ASIM_1", Platform: "ASIM", Adapter: "embedded", Enabled: true, Mode: sim.Sync},
	} {
		_, err := x.CreatePlatform(ctx, a)
		must(err)
	}
	for _, o := range []sim.Offering{
		{ID: "off-500mb", Name: "500 MB monthly", Account: "HUBSIM_1", Period: sim.CalendarMonth, DataLimit: &limit, OnLimit: sim.Notify, Activation: sim.Immediate},
		{ID: "off-first", Name: "First use", Account: "HUBSIM_1", Period: sim.CalendarMonth, OnLimit: sim.Notify, Activation: sim.FirstUse},
		{ID: "off-async", Name: "Slow", Account: "ASIM_1", Period: sim.CalendarMonth, OnLimit: sim.Notify, Activation: sim.Immediate},
	} {
		_, err := x.CreateOffering(ctx, o)
		must(err)
	}
	for _, d := range []string{"dev-1", "dev-2", "dev-5"} {
		_, err := s.hubs["acme"].Backend(hub.Operator()).Put(ctx, nave.ID{Device: d}, &nave.IdentityPatch{}, "")
		must(err)
	}
	s.importAll(t, x)
	globex := s.operator("globex")
	_, err := globex.CreatePlatform(ctx, sim.Account{Account: "HUBSIM_1", Platform: "HUBSIM", Adapter: "embedded", Enabled: true, Mode: sim.Sync})
	must(err)
	_, err = globex.Import(ctx, "HUBSIM_1", []sim.SIM{{ICCID: s9[7:]}}, sim.Origin{})
	must(err)
	change(t, globex, s9, sim.Active)
	_, err = x.CreatePlatform(ctx, s.remote.account())
	must(err)
	s.synchronise(t)
	s.w, s.r, s.a = s.app(t, "w", "rw connection-management-orchestrator"), s.app(t, "r", "ro connection-management-orchestrator"),
		s.app(t, "a", "rw application-access-management", "rw platform-management")
}

// synchronise brings the index of the remote account up to date.
func (s *stage) synchronise(t testing.TB) *sim.Monitor {
	t.Helper()
	ctx := context.Background()
	m, err := s.operator("acme").Synchronise(ctx, "REMOTE_1", sim.Origin{Method: "POST"})
	if err != nil {
		t.Fatal(err)
	}
	limit, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for m.State == sim.InProgress {
		if err := s.sim.Tick(limit); err != nil {
			t.Fatal(err)
		}
		if m, err = s.operator("acme").Monitor(limit, m.ID); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (s *stage) importAll(t testing.TB, x *sim.Access) {
	t.Helper()
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := x.Import(ctx, "HUBSIM_1", []sim.SIM{
		{ICCID: s1[7:], IMSI: "001010000000001", MSISDN: "999000000001", Offering: "off-500mb"}, {ICCID: s2[7:], Offering: "off-500mb"},
		{ICCID: s3[7:], Offering: "off-500mb"}, {ICCID: s4[7:]}, {ICCID: s5[7:], Offering: "off-first"}, {ICCID: s6[7:]}}, sim.Origin{})
	must(err)
	_, err = x.Import(ctx, "ASIM_1", []sim.SIM{{ICCID: s7[5:], Offering: "off-async"}}, sim.Origin{})
	must(err)
	for _, id := range []string{s1, s2, s5, s6, s7} {
		change(t, x, id, sim.Active)
	}
	change(t, x, s2, sim.Suspended)
	change(t, x, s4, sim.Terminated)
	_, err = x.PutPlatform(ctx, "ASIM_1", sim.Account{Account: "ASIM_1", Platform: "ASIM", Adapter: "embedded", Enabled: true, Mode: sim.Async,
		Embedded: &sim.Embedded{AsyncDelay: 5000}})
	must(err)
	_, err = x.ChangeProperties(ctx, sim.PropertyChange{Product: s1 + "-simCard", Ops: []sim.PropertyOp{{Op: sim.SetProperty, Name: "site", Value: "Bonn 3"}}})
	must(err)
	for id, device := range map[string]string{s1: "dev-1", s5: "dev-5"} {
		_, _, err := x.PutLink(ctx, id, device, false, sim.Origin{})
		must(err)
	}
}

func change(t testing.TB, x *sim.Access, id string, to sim.Status) {
	t.Helper()
	c, err := x.ChangeStatus(context.Background(), sim.StatusChange{Product: id + "-simCard", To: to})
	if err != nil || c.Part == nil {
		t.Fatalf("%s to %s: %v, %v", id, to, c, err)
	}
}

// app registers an application with permissions such as "rw platform-management".
func (s *stage) app(t testing.TB, name string, permissions ...string) *oauth.App {
	t.Helper()
	d := oauth.AppDraft{Name: name, Contact: "ops@example.com"}
	for _, p := range permissions {
		access, api, _ := strings.Cut(p, " ")
		d.Permissions = append(d.Permissions, oauth.Permission{API: api, Version: "v1", Access: access})
	}
	a, err := s.apps.CreateApp(context.Background(), "acme", d)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// token returns a token of the application that is valid now.
func (s *stage) token(t testing.TB, a *oauth.App) string {
	t.Helper()
	if k := s.tokens[a]; k != "" {
		if _, err := s.apps.CheckToken(context.Background(), k); err == nil {
			return k
		}
	}
	k, err := s.apps.AppToken(context.Background(), a.Credentials[0].ClientID, a.Credentials[0].Secret, "")
	if err != nil {
		t.Fatal(err)
	}
	s.tokens[a] = k.Text
	return k.Text
}

// row is one conformance row on its way.
type row struct {
	*stage
	*testing.T
}

// fresh runs a row on a stage of its own; its name begins with the row's id.
func fresh(t *testing.T, name string, f func(x *row), change ...func(*simapi.Options)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		f(&row{open(t, change...), t})
	})
}

// row runs a row that changes nothing on a stage that is shared.
func (s *stage) row(t *testing.T, name string, f func(x *row)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { f(&row{s, t}) })
}

// request is what do sends. Headers of "" are left out.
type request struct {
	method, path, body string
	as                 *oauth.App // nil: W; anonymous for none
	header             []string   // "Name: value"
	from               string     // remote address, 192.0.2.1:1234
	length             int64      // Content-Length in place of the body's
}

var anonymous = &oauth.App{}

// answer is a response that has been read and checked.
type answer struct {
	x      *row
	status int
	header http.Header
	raw    []byte
	body   map[string]any
}

// get, post and so on send a request with W's token.
func (x *row) get(path string, header ...string) *answer {
	x.Helper()
	return x.do(request{method: "GET", path: path, header: header})
}

func (x *row) post(path, body string, header ...string) *answer {
	x.Helper()
	return x.do(request{method: "POST", path: path, body: body, header: header})
}

func (x *row) put(path, body string) *answer {
	x.Helper()
	return x.do(request{method: "PUT", path: path, body: body})
}

func (x *row) delete(path string) *answer {
	x.Helper()
	return x.do(request{method: "DELETE", path: path})
}

const (
	jsonPatch  = "Content-Type: application/json-patch+json"
	queryPatch = "Content-Type: application/json-patch-query+json"
	mergePatch = "Content-Type: application/merge-patch+json"
)

// patch sends a JSON Patch unless header has another type.
func (x *row) patch(path, body string, header ...string) *answer {
	x.Helper()
	return x.do(request{method: "PATCH", path: path, body: body, header: append([]string{jsonPatch}, header...)})
}

// to asks for a status of a product's SIM card.
func (x *row) to(id, status string, header ...string) *answer {
	x.Helper()
	return x.patch(b+"/product/"+id+"-simCard", `[{"op":"replace","path":"/status","value":"`+status+`"}]`, header...)
}

// as sends a request with the token of an application.
func (x *row) as(a *oauth.App, method, path, body string, header ...string) *answer {
	x.Helper()
	return x.do(request{method: method, path: path, body: body, as: a, header: header})
}

// do sends a request and holds the answer against what all must have.
func (x *row) do(q request) *answer {
	x.Helper()
	r := httptest.NewRequest(q.method, "https://"+host+"/", strings.NewReader(q.body))
	path, query, _ := strings.Cut(q.path, "?")
	r.RequestURI = q.path
	r.URL.RawQuery = query
	var err error
	if r.URL.Path, err = url.PathUnescape(path); err != nil {
		x.Fatal(err)
	}
	r.URL.RawPath = path
	r.RemoteAddr = "192.0.2.1:1234"
	if q.from != "" {
		r.RemoteAddr = q.from
	}
	if q.length != 0 {
		r.ContentLength = q.length
	}
	if q.body != "" && q.method != "GET" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Accept", "application/json")
	for _, h := range q.header {
		name, v, _ := strings.Cut(h, ": ")
		if r.Header.Set(name, v); v == "" {
			r.Header.Del(name)
		}
	}
	if q.as == nil {
		q.as = x.w
	}
	if q.as != anonymous && r.Header.Get("Authorization") == "" {
		r.Header.Set("Authorization", "Bearer "+x.token(x, q.as))
	}
	rec := httptest.NewRecorder()
	x.ServeHTTP(rec, r)
	resp := rec.Result()
	a := &answer{x: x, status: resp.StatusCode, header: resp.Header}
	if a.raw, err = io.ReadAll(resp.Body); err != nil {
		x.Fatal(err)
	}
	a.check(r)
	return a
}

// status fails the row when the answer has another one.
func (a *answer) want(status int) *answer {
	a.x.Helper()
	if a.status != status {
		a.x.Fatalf("status %d, want %d: %s", a.status, status, a.raw)
	}
	return a
}

// problem is P(status, title, code); "…" for the code stands for
// validation_failed.
func (a *answer) problem(status int, title, code string) *answer {
	a.x.Helper()
	if code == "…" {
		code = "validation_failed"
	}
	if a.status != status || a.get("title") != title || a.get("code") != code {
		a.x.Fatalf("%d %v, %v, want %d %s, %s: %s", a.status, a.get("title"), a.get("code"), status, title, code, a.raw)
	}
	return a
}

// issue checks one entry of errors; "" for what does not matter.
func (a *answer) issue(n int, place, code string) *answer {
	a.x.Helper()
	got := a.get(fmt.Sprintf("errors.%d", n))
	m, _ := got.(map[string]any)
	where := m["pointer"]
	if where == nil {
		where = m["parameter"]
	}
	if m == nil || place != "" && where != place || code != "" && m["code"] != code {
		a.x.Errorf("issue %d is %v, want %s %s", n, got, place, code)
	}
	return a
}

// get returns the value at a path such as entities.0.id, nil without one. A
// member with dots in its name is written with / for them.
func (a *answer) get(path string) any { return dig(a.body, path) }

func dig(v any, path string) any {
	for part := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[strings.ReplaceAll(part, "/", ".")]
		case []any:
			n := -1
			fmt.Sscan(part, &n)
			if n < 0 || n >= len(in) {
				return nil
			}
			v = in[n]
		default:
			return nil
		}
	}
	return v
}

// is compares the value at a path with one that JSON knows.
func (a *answer) is(path string, want any) *answer {
	a.x.Helper()
	got, _ := json.Marshal(a.get(path))
	text, _ := json.Marshal(want)
	if string(got) != string(text) {
		a.x.Errorf("%s is %s, want %s", path, got, text)
	}
	return a
}

// ids compares the ids of the entities, in order.
func (a *answer) ids(want ...string) *answer {
	a.x.Helper()
	all, _ := a.get("entities").([]any)
	got := []string{}
	for _, e := range all {
		got = append(got, fmt.Sprint(dig(e, "id")))
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		a.x.Errorf("ids %v, want %v", got, want)
	}
	return a
}

// has checks a header; an empty value stands for none.
func (a *answer) has(name, want string) *answer {
	a.x.Helper()
	if got := a.header.Get(name); got != want {
		a.x.Errorf("%s is %q, want %q", name, got, want)
	}
	return a
}

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }
