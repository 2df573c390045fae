package load_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/load"
	"github.com/nave-hub/nave/internal/mqtt"
)

func TestConnect(t *testing.T) {
	ctx, seen := enough(t, 20*time.Millisecond, 20)
	s := &server{}
	s.refuse = func(*mqtt.Connect) byte {
		if s.connected.Load() > 0 { // not the one before the run
			seen()
		}
		return 0
	}
	serve(t, s)
	r, err := load.RunConnect(ctx, s.target, logins(3), 20*time.Millisecond, time.Minute, nil)
	if err != nil || r.Errors != 0 || r.Done == 0 || r.Latency == nil {
		t.Fatal(err, r)
	}
	// One more is made before, and one for each worker may be cut off at the end after the server has counted it.
	if seen := s.connected.Load() - 1; seen < r.Answered || seen > r.Answered+3 {
		t.Errorf("the server saw %d: %+v", seen, r)
	}
}

func TestConnectRefused(t *testing.T) {
	s := serve(t, &server{refuse: func(*mqtt.Connect) byte { return mqtt.BadCredentials }})
	if _, err := load.RunConnect(t.Context(), s.target, logins(1), 0, time.Second, nil); !errors.Is(err, mqtt.ErrRefused) {
		t.Error(err)
	}
	if _, err := load.RunTelemetry(t.Context(), s.target, logins(2), load.Telemetry{QoS: 1}); !errors.Is(err, mqtt.ErrRefused) {
		t.Error(err)
	}
}

func TestHold(t *testing.T) {
	if _, err := load.Resident(os.Getpid()); err != nil {
		t.Skip(err)
	}
	s := serve(t, &server{})
	r, err := load.RunHold(t.Context(), s.target, logins(40), load.HoldOptions{PID: os.Getpid(), Settle: time.Millisecond})
	if err != nil || r.Alive != 40 || r.After == 0 || s.connected.Load() != 40 {
		t.Fatal(err, r)
	}
}

// TestLost checks that a server which goes away is an error in the result, not a hang or a success.
func TestLost(t *testing.T) {
	for name, rate := range map[string]float64{"closed loop": 0, "open loop": 1000} {
		t.Run(name, func(t *testing.T) {
			var once sync.Once
			s := serve(t, &server{})
			s.handle = func(c *conn, _ *mqtt.Publish) error {
				if s.published.Load() > 50 {
					once.Do(s.killAll)
				}
				return nil
			}
			r, err := load.RunTelemetry(t.Context(), s.target, logins(2), load.Telemetry{QoS: 1, Rate: rate, Duration: 30 * time.Second})
			if err != nil || r.Errors != 2 || r.LastError == "" || r.Answered >= r.Sent && rate == 0 {
				t.Errorf("%v %+v", err, r)
			}
		})
	}
}

func TestTwin(t *testing.T) {
	var patches atomic.Int64
	seen := func() {}
	take := func(c *conn, p *mqtt.Publish) error {
		_, rid, ok := strings.Cut(p.Topic, "$iothub/twin/PATCH/properties/reported/?$rid=")
		if !ok || !json.Valid(p.Payload) {
			return errors.New("not a patch")
		}
		patches.Add(1)
		seen()
		return c.c.Publish(&mqtt.Publish{Topic: "$iothub/twin/res/204/?$rid=" + rid + "&$version=9"})
	}
	r, err := load.RunTwin(t.Context(), serve(t, &server{handle: take}).target, logins(3), load.Requests{Window: 4, Duration: 150 * time.Millisecond})
	before := patches.Load()
	complete(t, r, err, before, 12)
	ctx, ended := enough(t, 0, 50)
	seen = ended
	r, err = load.RunTwin(ctx, serve(t, &server{handle: take}).target, logins(3), load.Requests{Window: 4, Duration: time.Minute})
	measured(t, r, err, patches.Load()-before, 12)
}

// measured is about a run that its context has ended: each worker may have had
// something under way then that the server has counted.
func measured(t *testing.T, r *load.Result, err error, seen, workers int64) {
	t.Helper()
	if err != nil || r.Errors != 0 || r.Sent != r.Answered || seen < r.Sent || seen > r.Sent+workers || r.Done == 0 || r.Latency == nil {
		t.Fatalf("%v; the server saw %d, the result says %+v", err, seen, r)
	}
}

// complete is about a run that has lasted as long as it should: each worker has
// made a request at least.
func complete(t *testing.T, r *load.Result, err error, seen, workers int64) {
	t.Helper()
	if err != nil || r.Errors != 0 || r.Sent != seen || r.Answered != seen || seen < workers || r.Done > seen {
		t.Fatalf("%v; the server saw %d, the result says %+v", err, seen, r)
	}
}

// rest stands for the REST API of a hub elsewhere: it answers bulk calls as service-api 2.5 says, and passes methods to the MQTT server.
type rest struct {
	mu      sync.Mutex
	devices map[string]bool
	invoke  func(ctx context.Context, device string) (status int, answer string)
	busy    int // calls that are answered with 429 first
}

func (h *rest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if !strings.HasPrefix(r.Header.Get("Authorization"), "SharedAccessSignature sr=hub.test&") || r.URL.Query().Get("api-version") == "" {
		w.WriteHeader(401)
		return
	}
	if device, ok := strings.CutPrefix(r.URL.Path, "/twins/"); ok {
		status, answer := h.invoke(r.Context(), strings.TrimSuffix(device, "/methods"))
		w.WriteHeader(status)
		io.WriteString(w, answer)
		return
	}
	h.bulk(w, body)
}

func (h *rest) bulk(w http.ResponseWriter, body []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy > 0 {
		h.busy--
		w.WriteHeader(429)
		return
	}
	var items []struct{ ID, ImportMode string }
	if err := json.Unmarshal(body, &items); err != nil || len(items) > 100 {
		w.WriteHeader(413)
		return
	}
	failed := []map[string]any{}
	for _, i := range items {
		switch {
		case i.ImportMode == "delete":
			delete(h.devices, i.ID)
		case i.ImportMode == "create" && h.devices[i.ID]:
			failed = append(failed, map[string]any{"deviceId": i.ID, "errorCode": 409001, "errorStatus": "exists"})
		default:
			h.devices[i.ID] = true
		}
	}
	if len(failed) > 0 {
		w.WriteHeader(400)
	}
	json.NewEncoder(w).Encode(map[string]any{"errors": failed})
}

func openREST(t *testing.T, h *rest) *load.Service {
	web := httptest.NewTLSServer(h)
	t.Cleanup(web.Close)
	conf, err := load.TLSConfig("", true)
	if err != nil {
		t.Fatal(err)
	}
	s, err := load.OpenService(login, load.ServiceOptions{HTTPS: web.Listener.Addr().String(), TLS: conf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestDevices(t *testing.T) {
	h := &rest{devices: map[string]bool{}, busy: 1}
	s := openREST(t, h)
	all := load.Devices("sim-", 250)
	created, err := s.Create(t.Context(), all[:10], false, nil)
	if err != nil || len(created) != 10 || len(h.devices) != 10 {
		t.Fatal(err, created)
	}
	var exists *load.ExistsError
	created, err = s.Create(t.Context(), all, false, nil)
	if !errors.As(err, &exists) || exists.Count != 10 || exists.Device != "sim-0000" || len(created) != 90 {
		t.Fatal(err, len(created))
	}
	if created, err = s.Create(t.Context(), all, true, nil); err != nil || len(created) != 250 || len(h.devices) != 250 {
		t.Fatal(err, len(created))
	}
	if err := s.Delete(t.Context(), all, nil); err != nil || len(h.devices) != 0 {
		t.Fatal(err, len(h.devices))
	}
}

func TestMethod(t *testing.T) {
	var mu sync.Mutex
	waiting := map[string]chan []byte{}
	s := serve(t, &server{handle: func(c *conn, p *mqtt.Publish) error {
		mu.Lock()
		defer mu.Unlock()
		if !strings.HasPrefix(p.Topic, "$iothub/methods/res/200/?$rid=") {
			return errors.New("not an answer")
		}
		waiting[c.connect.ClientID] <- p.Payload
		return nil
	}})
	calls := func() {}
	h := &rest{invoke: func(ctx context.Context, device string) (int, string) {
		calls()
		answer := make(chan []byte, 1)
		mu.Lock()
		waiting[device] = answer
		mu.Unlock()
		s.mu.Lock()
		for c := range s.conns {
			if c.connect.ClientID == device {
				c.c.Publish(&mqtt.Publish{Topic: "$iothub/methods/POST/echo/?$rid=1", Payload: []byte(`"x"`)})
			}
		}
		s.mu.Unlock()
		select {
		case payload := <-answer:
			return 200, `{"status":200,"payload":` + string(payload) + `}`
		case <-ctx.Done(): // the run has ended and its devices are gone
			return 504, ""
		}
	}}
	r, err := load.RunMethod(t.Context(), openREST(t, h), s.target, logins(4), load.Requests{Duration: 150 * time.Millisecond})
	complete(t, r, err, s.published.Load(), 4)
	before := s.published.Load()
	ctx, seen := enough(t, 0, 30)
	calls = seen
	r, err = load.RunMethod(ctx, openREST(t, h), s.target, logins(4), load.Requests{Duration: time.Minute})
	measured(t, r, err, s.published.Load()-before, 4)
}

func TestStatusError(t *testing.T) {
	s := openREST(t, &rest{invoke: func(context.Context, string) (int, string) { return 404, "no such device" }})
	var status *load.StatusError
	if _, err := s.Invoke(t.Context(), "d1", "m", nil); !errors.As(err, &status) || status.Status != 404 || status.Text != "no such device" {
		t.Error(err)
	}
}

func TestBadInput(t *testing.T) {
	for _, text := range []string{"", "127.0.0.1:1883", "http://h:1", "mqtt://", "mqtt://:1883"} {
		if _, err := load.ParseTarget(text, nil); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	if at, err := load.ParseTarget("mqtts://h", nil); err != nil || at.Address != "h:8883" || at.TLS.ServerName != "h" {
		t.Error(at, err)
	}
	for _, o := range []load.Telemetry{{Window: 65536}, {Window: -1}, {Size: -1}, {Size: 1 << 20}, {QoS: 2}, {Rate: -1}} {
		if _, err := load.RunTelemetry(t.Context(), load.Target{}, nil, o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	if _, err := load.OpenService("HostName=h;DeviceId=d;SharedAccessKey=MDEyMzQ1Njc4OWFiY2RlZg==", load.ServiceOptions{}); err == nil {
		t.Error("a device's connection string was taken")
	}
}
