package hubhttp_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/hubhttp"
)

// later makes an exchange on a goroutine.
func (r *rig) later(q ask) <-chan *answer {
	q.token = r.token("service", now().Add(time.Hour))
	out := make(chan *answer, 1)
	go func() {
		a, err := r.try(q)
		if err != nil {
			a = &answer{body: err.Error()}
		}
		out <- a
	}()
	return out
}

func TestMethodsLive(t *testing.T) {
	r := newRig(t, options{})
	for _, id := range []string{"d1", "late", "mute", "odd", "slow", "gone"} {
		r.create(id)
	}
	t.Run("SVC-139 the device connects in time", func(t *testing.T) {
		got := r.later(ask{verb: "POST", path: "/twins/late/methods", body: `{"methodName":"m","connectTimeoutInSeconds":60}`})
		r.connect("late", func(*nave.Call) *nave.Reply { return &nave.Reply{Status: 200} }).line.WatchMethods(true)
		next(t, got, "answer").want(t, 200)
	})
	t.Run("SVC-141 no answer", func(t *testing.T) {
		r.connect("mute", nil).line.WatchMethods(true)
		began := time.Now()
		got := r.do(ask{verb: "POST", path: "/twins/mute/methods", body: `{"methodName":"m","responseTimeoutInSeconds":5}`})
		got.refused(t, 504, "GatewayTimeout")
		if took := time.Since(began); took < 5*time.Second {
			t.Errorf("took %s", took)
		}
		if !strings.Contains(got.body, `\"errorCode\":504101`) || !strings.Contains(got.body, "limit 5, setting responseTimeoutInSeconds") {
			t.Errorf("got %s", got)
		}
	})
	t.Run("an answer that is no JSON", func(t *testing.T) {
		r.connect("odd", func(*nave.Call) *nave.Reply { return &nave.Reply{Status: 200, Payload: []byte("hello")} }).line.WatchMethods(true)
		r.do(ask{verb: "POST", path: "/twins/odd/methods", body: `{"methodName":"m"}`}).refused(t, 502, "GenericBadGateway")
	})
	t.Run("SVC-148 form of the body", func(t *testing.T) {
		got := r.do(ask{verb: "POST", path: "/twins/none/methods", body: `{"methodName":"m"}`})
		var outer struct{ Message, ExceptionMessage string }
		var inner map[string]any
		if err := json.Unmarshal([]byte(got.body), &outer); err != nil || json.Unmarshal([]byte(outer.Message), &inner) != nil {
			t.Fatalf("got %s", got)
		}
		info, there := inner["info"]
		if outer.ExceptionMessage != "" || inner["errorCode"] != 404001.0 || info != nil || !there || inner["message"] == "" || inner["timestampUtc"] == nil {
			t.Errorf("got %v", inner)
		}
		for _, v := range inner {
			if _, nested := v.(map[string]any); nested {
				t.Errorf("nested: %v", inner)
			}
		}
	})
	t.Run("SVC-149 two calls at once", func(t *testing.T) {
		p := r.connect("slow", nil)
		p.line.WatchMethods(true)
		one := r.later(ask{verb: "POST", path: "/twins/slow/methods", body: `{"methodName":"first"}`})
		first := next(t, p.calls, "call")
		two := r.later(ask{verb: "POST", path: "/twins/slow/methods", body: `{"methodName":"second"}`})
		second := next(t, p.calls, "call")
		p.line.Answer(second.ID, nave.Reply{Status: 2})
		if got := next(t, two, "answer"); got.body != `{"status":2,"payload":null}` {
			t.Errorf("got %s", got)
		}
		p.line.Answer(first.ID, nave.Reply{Status: 1})
		if got := next(t, one, "answer"); got.body != `{"status":1,"payload":null}` {
			t.Errorf("got %s", got)
		}
	})
	t.Run("the caller hangs up", func(t *testing.T) {
		p := r.connect("gone", nil)
		p.line.WatchMethods(true)
		ctx, cancel := context.WithCancel(context.Background())
		q := httptest.NewRequestWithContext(ctx, "POST", "/twins/gone/methods?api-version=2021-04-12", strings.NewReader(`{"methodName":"m","responseTimeoutInSeconds":300}`))
		q.Header.Set("Authorization", r.token("service", now().Add(time.Hour)))
		ended := make(chan struct{})
		go func() {
			r.front.ServeHTTP(httptest.NewRecorder(), q)
			close(ended)
		}()
		next(t, p.calls, "call")
		cancel()
		next(t, ended, "end")
		told := func(r report) bool { return r.why.Code == fault.ClientClosedRequest && r.on.Device == "gone" }
		if all := r.seen(); !slices.ContainsFunc(all, told) {
			t.Errorf("reported %+v", all)
		}
	})
}

func TestManyModules(t *testing.T) {
	r := newRig(t, options{hub: func(o *hub.Options) { o.Limits.Modules = 3 }})
	r.create("d1")
	for _, m := range []string{"d1/a", "d1/b", "d1/c"} {
		r.create(m)
	}
	t.Run("SVC-083 one module too many", func(t *testing.T) {
		r.do(ask{verb: "PUT", path: "/devices/d1/modules/d", body: "{}"}).refused(t, 413, "TooManyModulesOnDevice")
	})
}

func TestTransportLimits(t *testing.T) {
	r := newRig(t, options{})
	t.Run("SVC-267 a body of 2 MiB", func(t *testing.T) {
		got := r.do(ask{verb: "PUT", path: "/devices/d1", body: `{"statusReason":"` + strings.Repeat("x", 2<<20) + `"}`})
		got.refused(t, 413, "GenericRequestEntityTooLarge")
		if !strings.Contains(got.body, "limit 1048576, setting http.maxBody") {
			t.Errorf("got %s", got)
		}
	})
	t.Run("a chunked body of 2 MiB", func(t *testing.T) {
		q := httptest.NewRequest("PUT", "/devices/d1?api-version=2021-04-12", strings.NewReader(strings.Repeat(" ", 2<<20)))
		q.ContentLength = -1
		q.Header.Set("Authorization", r.token("iothubowner", now().Add(time.Hour)))
		w := httptest.NewRecorder()
		r.front.ServeHTTP(w, q)
		if w.Code != 413 {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
	t.Run("Expect 100-continue", func(t *testing.T) {
		got := r.do(ask{verb: "PUT", path: "/devices/d1", body: `{}`, headers: []string{"Expect: 100-continue"}})
		if got.status != 100 || !strings.Contains(got.body, "HTTP/1.1 200 OK") {
			t.Errorf("got %s", got)
		}
	})
}

func TestInjected(t *testing.T) {
	r := newRig(t, options{})
	r.create("d1")
	inject := func(t *testing.T, rule gate.Rule) *answer {
		t.Helper()
		rule.Count = 1
		if _, err := r.gate.Inject(rule); err != nil {
			t.Fatal(err)
		}
		return r.do(ask{verb: "GET", path: "/devices/d1"})
	}
	t.Run("SVC-260 injected 503001", func(t *testing.T) {
		got := inject(t, gate.Rule{Code: 503001})
		got.refused(t, 503, "ServiceUnavailable")
		if after, _ := got.header("Retry-After"); after != "1" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("SVC-261 injected 429001", func(t *testing.T) {
		got := inject(t, gate.Rule{Code: 429001, After: 2500 * time.Millisecond})
		got.refused(t, 429, "ThrottlingException")
		if after, _ := got.header("Retry-After"); after != "3" {
			t.Errorf("got %s", got)
		}
	})
	var golden strings.Builder
	for c := range fault.All() {
		if c.Family != fault.Hub {
			continue
		}
		t.Run("SVC-268 "+c.Error(), func(t *testing.T) {
			got := inject(t, gate.Rule{Code: c.ID})
			got.refused(t, c.HTTP, c.Name)
			if retry, _ := got.header("x-nave-retry"); retry != c.Retry.String() {
				t.Errorf("got %s", got)
			}
			last := r.seen()[len(r.seen())-1]
			if last.why.Code != c || last.op != "GET /devices/{d}" || last.on.Device != "d1" || !strings.Contains(got.body, last.why.Tracking) {
				t.Errorf("reported %+v, got %s", last, got)
			}
			after, _ := got.header("Retry-After")
			fmt.Fprintf(&golden, "%d %d retry=%s after=%s %s\n", c.ID, got.status, c.Retry, after, anyTracking.ReplaceAllString(anyRule.ReplaceAllString(got.body, "fault-N"), "TRACKING"))
		})
	}
	compareGolden(t, golden.String())
}

var (
	update      = flag.Bool("update", false, "rewrite testdata/faults.golden")
	anyTracking = regexp.MustCompile(`[0-9a-f]{32}-G:0-TimeStamp:[0-9/]+ [0-9:]+`)
	anyRule     = regexp.MustCompile(`fault-\d+`)
)

func compareGolden(t *testing.T, got string) {
	t.Helper()
	const file = "testdata/faults.golden"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	was, is := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for n := range max(len(was), len(is)) {
		if n >= len(was) || n >= len(is) || was[n] != is[n] {
			t.Fatalf("line %d of %s differs, run with -update and look at the difference", n+1, file)
		}
	}
}

func TestPanic(t *testing.T) {
	r := newRig(t, options{hub: func(o *hub.Options) {
		o.Bearer = func(context.Context, string) (*nave.Principal, error) { panic("secret") }
	}})
	got := r.do(ask{verb: "GET", path: "/devices/d1", token: "Bearer a.b.c"})
	got.refused(t, 500, "ServerError")
	if strings.Contains(got.body, "secret") {
		t.Errorf("got %s", got)
	}
}

func TestRefuse(t *testing.T) {
	r := newRig(t, options{})
	w := httptest.NewRecorder()
	r.front.Refuse(w, httptest.NewRequest("GET", "/devices/d1", nil), fault.IotHubNotFound.New("the host is another one"))
	if w.Code != 404 || exact(w.Header(), "iothub-errorcode") != "IotHubNotFound" {
		t.Errorf("got %d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestTiersAndRates(t *testing.T) {
	t.Run("SVC-264 methods on a B1 hub", func(t *testing.T) {
		r := newRig(t, options{gate: func(o *gate.Options) { o.Tier = gate.Tier{SKU: "B1", Units: 1} }})
		r.create("d1")
		r.do(ask{verb: "POST", path: "/twins/d1/methods", body: `{"methodName":"m"}`}).refused(t, 403, "OperationNotAvailableInCurrentTier")
	})
	t.Run("SVC-266 more than 100 registry operations a minute", func(t *testing.T) {
		r := newRig(t, options{gate: func(o *gate.Options) {
			o.Throttling = true
			o.Shape = gate.Shape{Estimate: -1}
			still := now() // or a slow machine never makes too many a minute
			o.Now = func() time.Time { return still }
		}})
		r.create("d1")
		var got *answer
		for range 110 {
			if got = r.do(ask{verb: "GET", path: "/devices/d1", as: "registryRead", token: ""}); got.status != 200 {
				break
			}
		}
		got.refused(t, 429, "ThrottlingException")
		if after, ok := got.header("Retry-After"); !ok || after == "0" {
			t.Errorf("got %s", got)
		}
	})
}

func TestBodyForms(t *testing.T) {
	for form, want := range map[string][2]string{
		"legacy": {`{"Message":"ErrorCode:DeviceNotFound;`, `{"Message":"ErrorCode:DeviceNotFound;`},
		"json":   {`{"Message":"{\"errorCode\":404001,`, `{"Message":"{\"errorCode\":404001,`},
		"hybrid": {`{"Message":"ErrorCode:DeviceNotFound;`, `{"Message":"ErrorCode:DeviceNotFound;`},
	} {
		t.Run(form, func(t *testing.T) {
			r := newRig(t, options{http: func(o *hubhttp.Options) { o.BodyForm = form }})
			plain := r.do(ask{verb: "GET", path: "/devices/none"})
			method := r.do(ask{verb: "POST", path: "/twins/none/methods", body: `{"methodName":"m"}`})
			if !strings.HasPrefix(plain.body, want[0]) || !strings.HasPrefix(method.body, want[1]) {
				t.Errorf("got %s\n%s", plain, method)
			}
			device := r.do(ask{verb: "POST", path: "/devices/none/messages/events", as: "none", body: "x"})
			if !strings.HasPrefix(device.body, `{"Message":"ErrorCode:IotHubUnauthorized;`) {
				t.Errorf("got %s", device)
			}
			if form != "hybrid" {
				return
			}
			// What the three SDK parsers look for: name, first brace, number inside.
			var outer, inner struct{ Message, ExceptionMessage string }
			if err := json.Unmarshal([]byte(plain.body), &outer); err != nil {
				t.Fatal(err)
			}
			at := strings.IndexByte(outer.Message, '{')
			var code struct {
				ErrorCode int `json:"errorCode"`
			}
			if json.Unmarshal([]byte(outer.Message[at:]), &inner) != nil || json.Unmarshal([]byte(inner.Message), &code) != nil || code.ErrorCode != 404001 {
				t.Errorf("got %s", plain)
			}
		})
	}
}

func TestAs(t *testing.T) {
	r := newRig(t, options{})
	r.create("d1")
	front := r.front.As(hub.Operator())
	for _, row := range []struct {
		verb, path, body string
		status           int
	}{
		{"GET", "/devices/d1", "", 200},
		{"GET", "/devices/d1?api-version=1999-01-01", "", 400},
		{"PATCH", "/twins/d1", `{"tags":{"a":1}}`, 200},
		{"POST", "/devices/d1/messages/events", "x", 404},
		{"GET", "/devices/d1/messages/devicebound", "", 404},
	} {
		w := httptest.NewRecorder()
		front.ServeHTTP(w, httptest.NewRequest(row.verb, row.path, strings.NewReader(row.body)))
		if w.Code != row.status {
			t.Errorf("%s %s: %d %s", row.verb, row.path, w.Code, w.Body)
		}
	}
	r.create("a+b")
	mounted := http.StripPrefix("/console/api", front)
	w := httptest.NewRecorder()
	if mounted.ServeHTTP(w, httptest.NewRequest("GET", "/console/api/devices/a%2Bb", nil)); w.Code != 200 {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	r.front.As(&nave.Principal{Name: "reader", Rights: nave.RegistryRead}).ServeHTTP(w, httptest.NewRequest("DELETE", "/devices/d1", nil))
	if w.Code != 401 {
		t.Errorf("got %d", w.Code)
	}
}

func TestHeaderInjection(t *testing.T) {
	r := newRig(t, options{})
	r.create("d1")
	m := &nave.C2D{On: nave.ID{Device: "d1"}}
	m.Body, m.System.UserID, m.System.To = []byte("x"), "u\r\nX-Evil: 1\r\n\r\nbody", "/devices/d1/messages/devicebound"
	if err := r.all.SendToDevice(context.Background(), m); err != nil {
		t.Fatal(err)
	}
	got := r.do(ask{verb: "GET", path: "/devices/d1/messages/devicebound", as: "d1"})
	if _, evil := got.header("X-Evil"); evil || got.status != 200 || got.body != "x" {
		t.Errorf("got %s", got)
	}
}

// exact returns a header by its exact spelling, which Header.Get cannot find.
func exact(h http.Header, name string) string {
	for spelt, values := range h {
		if spelt == name {
			return values[0]
		}
	}
	return ""
}
