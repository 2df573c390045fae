package sim_test

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mock "github.com/nave-hub/nave/internal/carrier"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/sim"
)

const (
	farID     = "carrier"
	farSecret = "carrier-secret/+ä"
)

// far is an adapter with a carrier behind it.
type far struct {
	*testing.T
	*mock.Carrier
	sim.Platform
	clock   *clock
	server  *httptest.Server
	words   []string // native statuses that nobody knows
	account sim.Account
}

func newFar(t *testing.T, o mock.Options, change ...func(*sim.Remote)) *far {
	t.Helper()
	f := &far{T: t, clock: &clock{at: noon}}
	o.Now, o.ClientSecret = f.clock.now, farSecret
	f.Carrier = mock.New(o)
	f.server = httptest.NewServer(f.Carrier)
	t.Cleanup(func() { f.Carrier.Close(); f.server.Close() })
	api, token := f.Base()
	h := &sim.Remote{BaseURL: f.server.URL + api + "/", TokenURL: f.server.URL + token, ClientID: farID, ClientSecret: farSecret, TimeoutMS: 60_000, TotalTimeoutMS: 60_000,
		RequestsPerSecond: 1000}
	f.account = sim.Account{Account: "REMOTE_1", Platform: "RMT", Adapter: sim.AdapterHTTP, Enabled: true, HTTP: h}
	for _, c := range change {
		c(h)
	}
	f.Platform = f.adapter()
	return f
}

// adapter makes another adapter of the account.
func (f *far) adapter() sim.Platform {
	f.Helper()
	p, err := sim.NewRemote(sim.AdapterEnv{Tenant: "acme", Account: f.account, Now: f.clock.now, Log: quiet, Unmapped: func(w string) { f.words = append(f.words, w) }})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { p.(io.Closer).Close() })
	return p
}

// is sets the profiles and forgets what was asked.
func (f *far) is(profiles ...string) {
	f.Helper()
	if err := f.Choose(profiles...); err != nil {
		f.Fatal(err)
	}
	f.Forget()
}

// class checks an error and returns it.
func (f *far) class(err error, want sim.Class, status int) *sim.PlatformError {
	f.Helper()
	var e *sim.PlatformError
	if !errors.As(err, &e) || e.Class != want || e.HTTPStatus != status {
		f.Fatalf("%v, want %s %d", err, want, status)
	}
	if inside := f.server.Listener.Addr().String(); strings.Contains(e.Detail+e.Title+e.Body, inside) || strings.Contains(e.Detail+e.Body, "127.0.0.1") {
		f.Errorf("an address is shown: %+v", e)
	}
	return e
}

func (f *far) saw(n int, prefix string) {
	f.Helper()
	if got := f.Requests(prefix); len(got) != n {
		f.Errorf("%d requests %q, want %d: %v", len(got), prefix, n, got)
	}
}

// seen waits until so many requests have arrived.
func (f *far) seen(n int, prefix string) {
	f.Helper()
	for end := time.Now().Add(patience); len(f.Requests(prefix)) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			f.Fatalf("%d of %d requests %q came", len(f.Requests(prefix)), n, prefix)
		}
	}
}

// receive takes from a channel what must come.
func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func TestRemoteToken(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	f := newFar(t, mock.Options{SIMs: 1})
	iccid := f.SIMs()[0]
	t.Run("HA-2 one at a time asks for a token", func(t *testing.T) {
		f.is("slow=50ms@token")
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := f.Get(ctx, iccid); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		f.saw(1, "POST /oauth2/token")
	})
	t.Run("HA-2 less than 10 s left", func(t *testing.T) {
		for _, c := range []struct {
			at     time.Duration
			tokens int
		}{{290 * time.Second, 0}, {291 * time.Second, 1}, {300 * time.Second, 0}} {
			f.is()
			f.clock.set(noon.Add(c.at))
			if _, err := f.Get(ctx, iccid); err != nil {
				t.Fatal(err)
			}
			f.saw(c.tokens, "POST /oauth2/token")
		}
	})
	t.Run("HA-2 a change is repeated once after 401", func(t *testing.T) {
		f.is("stale-token@change")
		if out, err := f.SetStatus(ctx, iccid, sim.Suspended, ""); err != nil || out.Record == nil || out.Record.Status != sim.Suspended || !out.Record.Partial {
			t.Fatal(out, err)
		}
		f.saw(2, "PATCH ")
	})
}

// TestRemoteTable goes through connectivity-api 10.4 at the adapter.
func TestRemoteTable(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, c := range []struct {
		profile string
		class   sim.Class
		status  int
		check   func(*sim.PlatformError) bool
	}{
		{"empty-200", sim.ClassMalformed, 200, nil},
		{"wrong-id", sim.ClassMalformed, 200, nil},
		{"huge", sim.ClassMalformed, 200, nil},
		{"expired-credentials=401", sim.ClassCredentials, 401, nil},
		{"forbidden", sim.ClassNotPermitted, 403, nil},
		{"gone", sim.ClassNotFound, 404, nil},
		{"rate-limit=9", sim.ClassRateLimited, 429, func(e *sim.PlatformError) bool { return e.RetryAfter == 9*time.Second }},
		{"error500=x", sim.ClassRejected, 500, func(e *sim.PlatformError) bool { return e.Detail == "x" }},
		{"outage", sim.ClassOutage, 500, nil},
		{"expired-credentials", sim.ClassCredentials, 500, nil},
		{"unsupported@product", sim.ClassRejected, 501, func(e *sim.PlatformError) bool { return e.Unsupported }},
		{"unavailable", sim.ClassOutage, 503, nil},
		{"redirect", sim.ClassUnknown, 302, nil},
		{"conflict@product", sim.ClassRejected, 409, nil},
		{"timeout", sim.ClassTimeout, 0, func(e *sim.PlatformError) bool { return e.Took >= 300*time.Millisecond }},
		{"hang-up", sim.ClassUnreachable, 0, nil},
		{"timeout@token", sim.ClassTimeout, 0, func(e *sim.PlatformError) bool { return e.Token }},
		{"unavailable@token", sim.ClassOutage, 503, func(e *sim.PlatformError) bool { return e.Token }},
		{"error500@token", sim.ClassOutage, 500, func(e *sim.PlatformError) bool { return e.Token }},
		{"conflict@token", sim.ClassUnknown, 409, func(e *sim.PlatformError) bool { return e.Token }},
		{"gone@token", sim.ClassUnknown, 404, func(e *sim.PlatformError) bool { return e.Token }},
		{"expired-credentials@token", sim.ClassCredentials, 401, func(e *sim.PlatformError) bool { return e.Token }},
		{"html-200@token", sim.ClassMalformed, 200, func(e *sim.PlatformError) bool { return e.Token }},
		{"hang-up@token", sim.ClassUnreachable, 0, func(e *sim.PlatformError) bool { return e.Token }},
	} {
		t.Run(c.profile, func(t *testing.T) {
			t.Parallel()
			f := newFar(t, mock.Options{SIMs: 1})
			if _, err := f.List(ctx, ""); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(c.profile, "timeout") {
				sim.Limit(f.Platform, 300*time.Millisecond, time.Minute)
			}
			if strings.Contains(c.profile, "token") {
				f.clock.set(noon.Add(time.Hour))
			}
			f.is(c.profile)
			_, err := f.Get(ctx, f.SIMs()[0])
			if e := f.class(err, c.class, c.status); c.check != nil && !c.check(e) {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestRemoteList(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	f := newFar(t, mock.Options{SIMs: 25, MaxPage: 10})
	// run reads the whole list; between is called after each page.
	run := func(between func(page int)) (all []string, err error) {
		for cursor, n := "", 1; ; n++ {
			p, err := f.List(ctx, cursor)
			for _, r := range p.Records {
				if !slices.Contains(all, r.NativeID) {
					all = append(all, r.NativeID)
				}
			}
			if err != nil || p.Next == "" {
				return all, err
			}
			cursor = p.Next
			between(n)
		}
	}
	nothing := func(int) {}
	t.Run("HA-9 full records, page by page", func(t *testing.T) {
		all, err := run(nothing)
		if err != nil || len(all) != 25 {
			t.Fatal(len(all), err)
		}
		f.saw(3, "GET /product?")
		p, err := f.List(ctx, "")
		if r := p.Records[0]; err != nil || len(r.Parts) != 3 || r.ICCID != f.SIMs()[0] || r.IMSI == "" || r.Offering.Name != "Far 500 MB" || r.Status != sim.Active || r.Start.IsZero() {
			t.Errorf("%+v %v", p.Records[0], err)
		}
	})
	t.Run("HA-9 a product that goes hides none", func(t *testing.T) {
		want := f.SIMs()[1:]
		all, err := run(func(page int) {
			if page == 1 {
				f.Put(f.SIMs()[0], "")
			}
		})
		if err != nil || len(all) != 25 || !slices.Contains(all, want[9]) {
			t.Error(len(all), err)
		}
	})
	t.Run("HA-9 page 2 fails", func(t *testing.T) {
		f.is("forbidden@page2")
		if all, err := run(nothing); len(all) != 10 {
			t.Error(all)
		} else {
			f.class(err, sim.ClassNotPermitted, 403)
		}
	})
	t.Run("HA-9 a record that is not valid", func(t *testing.T) {
		f.is()
		f.Put("bad id", "ACTIVE")
		all, err := run(nothing)
		if len(all) != 24 {
			t.Error(len(all))
		}
		f.class(err, sim.ClassMalformed, 200)
		f.Put("bad id", "")
	})
	t.Run("10.4 row 10", func(t *testing.T) {
		f.is("gone@list")
		_, err := run(nothing)
		f.class(err, sim.ClassNotFound, 404)
	})
	t.Run("HA-8 unmapped", func(t *testing.T) {
		f.is("status=HIBERNATED")
		p, err := f.List(ctx, "")
		if err != nil || p.Records[0].Status != sim.Inactive || p.Records[0].NativeStatus != "HIBERNATED" || f.words[0] != "HIBERNATED" {
			t.Error(p, err, f.words)
		}
	})
}

// scripted makes an adapter whose platform answers everything but token
// requests with f.
func scripted(t *testing.T, answer http.HandlerFunc) sim.Platform {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			io.WriteString(w, `{"access_token":"abc","token_type":"bearer","expires_in":300}`)
			return
		}
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	p, err := sim.NewRemote(sim.AdapterEnv{Now: time.Now, Log: quiet, Account: sim.Account{Account: "A", Platform: "RMT", Adapter: sim.AdapterHTTP,
		HTTP: &sim.Remote{BaseURL: s.URL, TokenURL: s.URL + "/token", ClientID: "i", ClientSecret: "s3cret-s3cret", RequestsPerSecond: 1000}}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRemoteRecords feeds documents that are almost right (10.4 rows 2 and 3).
func TestRemoteRecords(t *testing.T) {
	t.Parallel()
	const good = `{"id":"X1-8900101000000000019","status":"ACTIVE","connectivityType":"CELLULAR","productOffering":{"id":"o","name":"O"},
		"productCharacteristic":[{"name":"ICCID","value":"8900101000000000019"}],
		"productRelationship":[{"type":"BUNDLED","product":{"id":"X1-8900101000000000019-simCard","@type":"simCard","productCharacteristic":[{"name":"IMSI","value":"001010000000001"}]}}]}`
	doc := good
	p := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/product/find" {
			w.WriteHeader(http.StatusMethodNotAllowed) // a platform without search
			return
		}
		io.WriteString(w, doc)
	})
	get := func() (*sim.Record, error) { return p.Get(context.Background(), "8900101000000000019") }
	if r, err := get(); err != nil || r.IMSI != "001010000000001" || len(r.Parts) != 1 || r.Parts[0].ID != "" {
		t.Fatal(r, err)
	}
	for _, c := range [][2]string{
		{`"id":"X1-8900101000000000019","status"`, `"status"`},
		{`"id":"X1-8900101000000000019","status"`, `"id":"8900101000000000019","status"`},
		{`"id":"X1-8900101000000000019","status"`, `"id":"X1-8900101000000000027","status"`},
		{`"id":"X1-8900101000000000019","status"`, `"id":8900101000000000019,"status"`},
		{`"status":"ACTIVE",`, ``},
		{`"status":"ACTIVE"`, `"status":null`},
		{`"status":"ACTIVE"`, `"status":7`},
		{`"CELLULAR"`, `"WIRED"`},
		{`"value":"8900101000000000019"`, `"value":"8900101000000000027"`},
		{`"value":"8900101000000000019"`, `"value":8900101000000000019`},
		{`"value":"001010000000001"`, `"value":"` + strings.Repeat("1", 65) + `"`},
		{`"value":"001010000000001"`, `"value":"00\u0000"`},
		{`X1-8900101000000000019-simCard`, `X1-8900101000000000027-simCard`},
		{`X1-8900101000000000019-simCard`, `X1-8900101000000000019-terminal`},
		{`{"type":"BUNDLED","product":{`, `{"type":"BUNDLED"},{"product":{`},
		{`"o","name":"O"`, `"o","name":["O"]`},
		{`}]}`, `}]}garbage`},
	} {
		doc = strings.Replace(good, c[0], c[1], 1)
		if doc == good {
			t.Fatal("nothing was changed by", c)
		}
		var e *sim.PlatformError
		if r, err := get(); !errors.As(err, &e) || e.Class != sim.ClassMalformed || e.HTTPStatus != 200 {
			t.Errorf("%s instead of %s: %+v, %v", c[1], c[0], r, err)
		}
	}
}

func TestRemoteNames(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	f := newFar(t, mock.Options{SIMs: 3})
	t.Run("one search, then by the reference that it showed", func(t *testing.T) {
		for _, iccid := range f.SIMs() {
			if r, err := f.Get(ctx, iccid); err != nil || r.NativeID != iccid {
				t.Fatal(r, err)
			}
		}
		f.saw(1, "POST /product/find")
		f.saw(3, "GET /product/FAR-")
	})
	t.Run("a part that is not there is no product that is gone", func(t *testing.T) {
		f.is("gone@change")
		_, err := f.SetStatus(ctx, f.SIMs()[0], sim.Suspended, "")
		if e := f.class(err, sim.ClassRejected, 404); !e.Unsupported {
			t.Error(e)
		}
	})
	t.Run("unknown everywhere", func(t *testing.T) {
		_, err := f.Get(ctx, "8900101000000009999")
		f.class(err, sim.ClassNotFound, 404)
	})
}

func TestRemoteParts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	f := newFar(t, mock.Options{SIMs: 1})
	iccid := f.SIMs()[0]
	if all, err := f.Usage(ctx, iccid, noon.Add(-time.Hour), noon, sim.Hourly); err != nil || len(all) != 1 || all[0].Data.Total != 1234 || !all[0].Period.End.Equal(noon) {
		t.Error(all, err)
	}
	if all, err := f.DataSessions(ctx, iccid, sim.DataSessionQuery{State: "ALL"}); err != nil || len(all) != 1 || all[0].State != "OPEN" || !all[0].End.IsZero() {
		t.Error(all, err)
	}
	if l, err := f.Location(ctx, iccid); err != nil || *l.Latitude != 50.73 || l.Source != "PLATFORM" {
		t.Error(l, err)
	}
	if s, err := f.SendSMS(ctx, iccid, sim.SMS{Payload: "hi", Encoding: "TEXT", Validity: time.Hour}); err != nil || s.Status != "SUBMITTED" || s.ID == "" {
		t.Error(s, err)
	}
	if out, err := f.Reset(ctx, iccid); err != nil || out.Ticket != "" {
		t.Error(out, err)
	}
	if err := f.Probe(ctx); err != nil {
		t.Error(err)
	}
	f.is("expired-credentials")
	f.class(f.Probe(ctx), sim.ClassCredentials, 401)
	f.is("forbidden@list")
	f.class(f.Probe(ctx), sim.ClassCredentials, 403)
}

func TestRemoteTicket(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	f := newFar(t, mock.Options{SIMs: 1})
	iccid := f.SIMs()[0]
	f.is("async=5s")
	out, err := f.SetStatus(ctx, iccid, sim.Suspended, "")
	if err != nil || out.Ticket == "" || out.Record != nil {
		t.Fatal(out, err)
	}
	if again, err := f.Poll(ctx, iccid, out.Ticket); err != nil || again.Ticket != out.Ticket {
		t.Fatal(again, err)
	}
	f.is("unavailable@monitor")
	_, err = f.Poll(ctx, iccid, out.Ticket)
	if e := f.class(err, sim.ClassOutage, 503); e.Final {
		t.Error("a poll that failed ends the change")
	}
	f.is()
	f.clock.set(noon.Add(5 * time.Second))
	if out, err = f.Poll(ctx, iccid, out.Ticket); err != nil || out.Record == nil || out.Record.Status != sim.Suspended {
		t.Fatal(out, err)
	}
	_, err = f.Poll(ctx, iccid, "1-1")
	if e := f.class(err, sim.ClassUnknown, 404); !e.Final {
		t.Error("a change that the platform forgot is polled for ever")
	}
	f.is("async-fail=422")
	if out, err = f.SetStatus(ctx, iccid, sim.Active, ""); err != nil {
		t.Fatal(err)
	}
	_, err = f.Poll(ctx, iccid, out.Ticket)
	if e := f.class(err, sim.ClassRejected, 422); !e.Final || e.Code != "refused" {
		t.Errorf("%+v", e)
	}
}

// TestRemoteCallerGone has callers go away while the platform thinks: a read is
// cut, a change that was sent is not.
func TestRemoteCallerGone(t *testing.T) {
	t.Parallel()
	const iccid = "8900101000000000019"
	arrived, answer := make(chan string, 4), make(chan struct{})
	p := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/product/find" {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		io.Copy(io.Discard, r.Body) // so that the server notices when the client goes
		arrived <- r.Method
		select {
		case <-answer:
			io.WriteString(w, `{"id":"RMT-`+iccid+`-simCard","@type":"simCard","status":"SUSPENDED","productCharacteristic":[{"name":"ICCID","value":"`+iccid+`"}]}`)
		case <-r.Context().Done():
		}
	})
	leave := func(call func(context.Context)) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go call(ctx)
		receive(t, arrived)
		cancel()
	}
	failed := make(chan error, 1)
	leave(func(ctx context.Context) { _, err := p.Get(ctx, iccid); failed <- err })
	if err := receive(t, failed); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	outcome := make(chan sim.Outcome, 1)
	leave(func(ctx context.Context) {
		out, err := p.SetStatus(ctx, iccid, sim.Suspended, "")
		if err != nil {
			t.Error("a change that was sent is cut:", err)
		}
		outcome <- out
	})
	close(answer)
	if out := receive(t, outcome); out.Record == nil || out.Record.Status != sim.Suspended {
		t.Errorf("%+v", out)
	}
}

func TestRemoteTLS(t *testing.T) {
	t.Parallel()
	c := mock.New(mock.Options{SIMs: 1})
	s := httptest.NewTLSServer(c)
	defer s.Close()
	api, token := c.Base()
	h := &sim.Remote{BaseURL: s.URL + api, TokenURL: s.URL + token, ClientID: "carrier", ClientSecret: "carrier-secret"}
	get := func() error {
		p, err := sim.NewRemote(sim.AdapterEnv{Now: time.Now, Log: quiet, Account: sim.Account{Platform: "RMT", Adapter: sim.AdapterHTTP, HTTP: h}})
		if err != nil {
			t.Fatal(err)
		}
		defer p.(io.Closer).Close()
		_, err = p.Get(context.Background(), c.SIMs()[0])
		return err
	}
	var e *sim.PlatformError
	if err := get(); !errors.As(err, &e) || e.Class != sim.ClassUnreachable || !strings.Contains(e.Detail, "certificate") {
		t.Error("HA-11: ", err)
	}
	h.Authority = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	if err := get(); err != nil {
		t.Error("HA-11: ", err)
	}
}

func TestRemoteSettings(t *testing.T) {
	for name, change := range map[string]func(*sim.Remote){
		"scheme":    func(r *sim.Remote) { r.BaseURL = "ftp://x/y" },
		"user":      func(r *sim.Remote) { r.BaseURL = "https://a:b@x/y" },
		"query":     func(r *sim.Remote) { r.TokenURL = "https://x/y?z" },
		"authority": func(r *sim.Remote) { r.Authority = "no pem" },
		"pattern":   func(r *sim.Remote) { r.Quirks = []sim.Quirk{{Status: 500, BodyPattern: "(", Class: sim.ClassRejected}} },
		"class":     func(r *sim.Remote) { r.Quirks = []sim.Quirk{{Status: 500, Class: "bad"}} },
		"status":    func(r *sim.Remote) { r.Quirks = []sim.Quirk{{Status: 200, Class: sim.ClassRejected}} },
		"pace":      func(r *sim.Remote) { r.RequestsPerSecond = 100_000 },
	} {
		h := &sim.Remote{BaseURL: "https://x/y", TokenURL: "https://x/token"}
		change(h)
		if _, err := sim.NewRemote(sim.AdapterEnv{Now: time.Now, Log: quiet, Account: sim.Account{Adapter: sim.AdapterHTTP, HTTP: h}}); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBlank looks for secrets in texts that a platform sends back (ER-7).
func TestBlank(t *testing.T) {
	t.Parallel()
	f := newFar(t, mock.Options{SIMs: 1})
	host := f.server.Listener.Addr().String()
	for _, text := range []string{
		farSecret, "client_secret=carrier-secret%2F%2B%C3%A4&x", `{"s":"carrier-secret\/+ä"}`, `{"clientSecret":"other-value"}`, "access_token=abcdefgh12345678",
		"Authorization: Bearer abcdefgh.12345", "basic Y2FycmllcjpjYXJyaWVyLXNlY3JldA==", "eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "at " + host + "/x", "from 10.1.2.3:8080", "192.168.0.7",
	} {
		got := sim.Blank(f.Platform, "before "+text+" after", 2048)
		if !strings.Contains(got, "[blanked]") || !strings.HasPrefix(got, "before ") {
			t.Errorf("%q becomes %q", text, got)
		}
		for _, secret := range []string{"carrier-secret", "other-value", "abcdefgh", "Y2Fycm", "eyJ", "10.1.2", "192.168", host} {
			if strings.Contains(got, secret) {
				t.Errorf("%q becomes %q", text, got)
			}
		}
	}
	for _, n := range []int{64<<10 - 5, 64<<10 - len(farSecret) + 1, 2040} {
		if got := sim.Blank(f.Platform, strings.Repeat("x", n)+farSecret+strings.Repeat("y", 100), 1<<20); strings.Contains(got, "carr") {
			t.Errorf("a secret that is cut off at %d shows", n)
		}
	}
	if got := sim.Blank(f.Platform, strings.Repeat("ä", 5000), 2048); len([]rune(got)) != 2048 {
		t.Error(len([]rune(got)))
	}
	if got := sim.Blank(f.Platform, "an ordinary text about 203.0.113.9 and 8900101000000000019", 2048); strings.Contains(got, "blanked") {
		t.Error(got)
	}
}
