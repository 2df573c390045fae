package dps_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// hook is a webhook on a real TLS server.
type hook struct {
	*httptest.Server
	calls atomic.Int64

	// Guarded by mu:
	mu     sync.Mutex
	bodies []map[string]any
	answer func(w http.ResponseWriter, r *http.Request)
}

func newHook(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *hook {
	h := &hook{answer: answer}
	h.Server = httptest.NewTLSServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.calls.Add(1)
	b, _ := io.ReadAll(r.Body)
	var v map[string]any
	_ = json.Unmarshal(b, &v)
	h.mu.Lock()
	h.bodies = append(h.bodies, v)
	answer := h.answer
	h.mu.Unlock()
	answer(w, r)
}

// will changes the answer.
func (h *hook) will(answer func(w http.ResponseWriter, r *http.Request)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = answer
}

func (h *hook) last() map[string]any {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bodies[len(h.bodies)-1]
}

func says(status int, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// open lets webhooks be called on this machine, with the server's own CA.
func (h *hook) settings() *dps.Settings {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
	return &dps.Settings{ID: dps.DefaultSettings, Webhook: dps.SettingsWebhook{AllowHTTP: true, CA: string(ca), Timeout: 120}}
}

func custom(url string) func(*dps.Enrollment) {
	return func(e *dps.Enrollment) {
		e.Allocation, e.Custom = dps.AllocateCustom, &dps.CustomAllocation{URL: url, Version: "2019-03-31"}
	}
}

const secretQuery = "/api/choose?code=TOPSECRET%2Fcode"

func TestWebhook(t *testing.T) {
	k := start(t)
	h := newHook(t, says(200, ""))
	k.settings(h.settings())
	t.Run("DPS-225 hub, twin and payload are applied", func(t *testing.T) {
		e := k.enroll("w1", custom(h.URL+secretQuery))
		h.will(says(200, `{"iotHubHostName":"HUB-B.test","initialTwin":{"tags":{"from":"hook"},"properties":{"desired":{"a":null,"b":2}}},"payload":{"code":7}}`))
		st := assigned(t, k.register(k.by(e, "w1"), ""))
		if st.AssignedHub != hubB || string(st.Payload) != `{"code":7}` || doc(k.twin(hubB, "w1").Tags) != `{"from":"hook"}` || doc(k.twin(hubB, "w1").Desired.Data) != `{"b":2}` {
			t.Errorf("%s", wire(t, st))
		}
	})
	t.Run("DPS-230 request body", func(t *testing.T) {
		e := k.enroll("w2", custom(h.URL+secretQuery), hubsOf(hubA))
		h.will(says(200, `{"iotHubHostName":"hub-a.test"}`))
		assigned(t, k.register(k.by(e, "w2"), `{"payload":{"n":1.50,"s":"x"}}`))
		v := h.last()
		device := v["deviceRuntimeContext"].(map[string]any)
		sent := v["individualEnrollment"].(map[string]any)
		if fmt.Sprint(v["linkedHubs"]) != "[hub-a.test]" || device["registrationId"] != "w2" || fmt.Sprint(device["payload"]) != "map[n:1.5 s:x]" || device["symmetricKey"] == nil || device["currentIotHubHostName"] != nil {
			t.Errorf("%v", v)
		}
		text := wire(t, v)
		if sent["registrationId"] != "w2" || strings.Contains(text, e.Attestation.SymmetricKey.Primary) || strings.Contains(text, "v1:") || v["enrollmentGroup"] != nil {
			t.Errorf("%s", text)
		}
	})
	t.Run("DPS-231 second registration", func(t *testing.T) {
		e := k.enroll("w3", custom(h.URL), func(e *dps.Enrollment) { e.DeviceID = "dev-3" })
		assigned(t, k.register(k.by(e, "w3"), ""))
		assigned(t, k.register(k.by(e, "w3"), ""))
		device := h.last()["deviceRuntimeContext"].(map[string]any)
		if device["currentIotHubHostName"] != hubA || device["currentDeviceId"] != "dev-3" {
			t.Errorf("%v", device)
		}
	})
	t.Run("group member", func(t *testing.T) {
		g := k.group("wg", custom(h.URL))
		assigned(t, k.register(k.by(g, "w4"), ""))
		if v := h.last()["enrollmentGroup"].(map[string]any); v["enrollmentGroupId"] != "wg" {
			t.Errorf("%v", v)
		}
	})
	t.Run("not called for a device that stays by policy", func(t *testing.T) {
		e := k.enroll("w5", custom(h.URL), policy(false, false))
		assigned(t, k.register(k.by(e, "w5"), ""))
		before := h.calls.Load()
		assigned(t, k.register(k.by(e, "w5"), ""))
		if n := h.calls.Load(); n != before {
			t.Errorf("called %d times", n-before)
		}
	})
}

func TestWebhookFailures(t *testing.T) {
	k := start(t)
	h := newHook(t, says(200, ""))
	k.settings(h.settings())
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request)
		code   int
		text   string
		calls  int64
	}{
		{"DPS-226 webhook answers 400", says(400, "no"), 400207, "Custom allocation failed with status code: 400", 1},
		{"DPS-227 no hub in the answer", says(200, `{"payload":{}}`), 400208, "Custom allocation did not return an IoT hub", 1},
		{"DPS-228 hub that is not linked", says(200, `{"iotHubHostName":"other.test"}`), 400209, "Custom allocation returned an IoT hub that may not be used", 1},
		{"webhook answers 403", says(403, ""), 400209, "Custom allocation failed with status code: 403", 1},
		{"webhook answers 500", says(500, ""), 400207, "Custom allocation failed with status code: 500", 1},
		{"503 is tried once more", says(503, ""), 400207, "Custom allocation failed with status code: 503", 2},
		{"answer that is not JSON", says(200, `{"iotHubHostName":`), 400207, "Custom allocation failed with status code: 200", 1},
		{"answer above 64 KB", says(200, `{"iotHubHostName":"hub-a.test","payload":{"x":"`+strings.Repeat("x", 70000)+`"}}`), 400207, "Custom allocation failed with status code: 200", 1},
		{"redirects are not followed", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, 400207, "Custom allocation failed with status code: 302", 1},
		{"connection that breaks is tried once more", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 400207, "Custom allocation failed with status code: 0", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			k.pass(time.Minute)
			e := k.enroll("wf", custom(h.URL))
			h.will(c.answer)
			before := h.calls.Load()
			st := failed(t, k.register(k.by(e, "wf"), ""), c.code)
			if n := h.calls.Load() - before; st.ErrorMessage != c.text || n != c.calls {
				t.Errorf("%q after %d calls", st.ErrorMessage, n)
			}
		})
	}
	t.Run("502 and then an answer", func(t *testing.T) {
		e := k.enroll("w6", custom(h.URL))
		var n atomic.Int64
		h.will(func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 1 {
				w.WriteHeader(502)
				return
			}
			io.WriteString(w, `{"iotHubHostName":"hub-a.test"}`)
		})
		assigned(t, k.register(k.by(e, "w6"), ""))
	})
}

func TestSlowWebhook(t *testing.T) {
	k := start(t)
	h := newHook(t, says(200, ""))
	k.settings(h.settings())
	t.Run("DPS-229 polls are answered while the webhook takes its time", func(t *testing.T) {
		e := k.enroll("w7", custom(h.URL))
		asked, goOn := make(chan struct{}), make(chan struct{})
		h.will(func(w http.ResponseWriter, r *http.Request) {
			close(asked)
			<-goOn
			io.WriteString(w, `{"iotHubHostName":"hub-a.test"}`)
		})
		c := k.by(e, "w7")
		ctx := context.Background()
		op, err := k.service.Register(ctx, c, []byte(`{"payload":1}`))
		if err != nil {
			t.Fatal(err)
		}
		<-asked
		if st, err := k.service.Status(ctx, c, op.ID); err != nil || st.Status != dps.Assigning || st.Retry != 3*time.Second || st.State != nil {
			t.Errorf("%+v, %v", st, err)
		}
		again, err := k.service.Register(ctx, c, []byte(`{"payload":1}`))
		if err != nil || again.ID != op.ID || again.Status != dps.Assigning {
			t.Errorf("the same call again: %+v, %v", again, err)
		}
		_, err = k.service.Register(ctx, c, []byte(`{"payload":2}`))
		t.Run("DPS-255 another payload conflicts", func(t *testing.T) { wants(t, err, fault.DPSRegistrationStatusConflict) })
		t.Run("DPS-195 delete while assigning", func(t *testing.T) {
			wants(t, k.DeleteRegistration(ctx, "w7", dps.Match{}), fault.DPSRegistrationStatusConflict)
		})
		close(goOn)
		assigned(t, k.await(c, op.ID))
	})
	t.Run("slow webhooks hold nobody else up", func(t *testing.T) {
		slow := k.enroll("w8", custom(h.URL))
		goOn := make(chan struct{})
		h.will(func(w http.ResponseWriter, r *http.Request) { <-goOn; says(400, "")(w, r) })
		op, err := k.service.Register(context.Background(), k.by(slow, "w8"), nil)
		if err != nil {
			t.Fatal(err)
		}
		e := k.enroll("w9")
		assigned(t, k.register(k.by(e, "w9"), ""))
		close(goOn)
		failed(t, k.await(k.by(slow, "w8"), op.ID), 400207)
	})
}

// TestDeletedMeanwhile is dps 3.3: an operation whose enrolment is deleted while
// it runs fails, and leaves nothing on a hub.
func TestDeletedMeanwhile(t *testing.T) {
	k := start(t)
	h := newHook(t, says(200, ""))
	k.settings(h.settings())
	for _, c := range []struct {
		name string
		make func(string, ...func(*dps.Enrollment)) *dps.Enrollment
		drop func(context.Context, string, dps.Match) error
		code int
	}{
		{"CODE-404201 enrolment deleted while the webhook takes its time", k.enroll, k.DeleteEnrollment, 404201},
		{"CODE-404204 group deleted while the webhook takes its time", k.group, k.DeleteGroup, 404204},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := context.Background()
			asked, goOn := make(chan struct{}), make(chan struct{})
			h.will(func(w http.ResponseWriter, r *http.Request) {
				close(asked)
				<-goOn
				io.WriteString(w, `{"iotHubHostName":"hub-a.test"}`)
			})
			e := c.make("gone", custom(h.URL))
			by := k.by(e, "gone")
			op, err := k.service.Register(ctx, by, nil)
			if err != nil {
				t.Fatal(err)
			}
			<-asked
			if err := c.drop(ctx, "gone", dps.Match{}); err != nil {
				t.Fatal(err)
			}
			close(goOn)
			failed(t, k.await(by, op.ID), c.code)
			if k.device(hubA, "gone") != nil {
				t.Error("the device is on the hub")
			}
			if st, err := k.Registration(ctx, "gone"); err != nil || st.Status != dps.Failed || st.AssignedHub != "" {
				t.Errorf("%+v, %v", st, err)
			}
		})
	}
}

// TestWebhookPolicy is risk 13: an operator-given URL must open no way into the
// network around the service, and its query must not show.
func TestWebhookPolicy(t *testing.T) {
	var log bytes.Buffer
	var mu sync.Mutex
	k := start(t, func(o *dps.Options) {
		o.Log = slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return log.Write(b)
		}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	h := newHook(t, says(200, `{"iotHubHostName":"hub-a.test"}`))
	t.Run("risk 13: addresses of this machine are refused", func(t *testing.T) {
		p := h.settings()
		p.Webhook.AllowHTTP = false
		k.settings(p)
		e := k.enroll("ssrf", custom(h.URL+secretQuery))
		st := failed(t, k.register(k.by(e, "ssrf"), ""), 400207)
		if st.ErrorMessage != "Custom allocation failed with status code: 0" || h.calls.Load() != 0 {
			t.Errorf("%q after %d calls", st.ErrorMessage, h.calls.Load())
		}
	})
	t.Run("risk 13: http needs a setting", func(t *testing.T) {
		plain := httptest.NewServer(h)
		defer plain.Close()
		e := k.enroll("plain", func(e *dps.Enrollment) {
			e.Custom = &dps.CustomAllocation{URL: "https://web.hook", Version: "2019-03-31"}
		}, allocation(dps.AllocateCustom))
		e.Custom.URL = plain.URL + secretQuery
		k.rawEnrollment(e)
		failed(t, k.register(k.by(e, "plain"), ""), 400207)
		if h.calls.Load() != 0 {
			t.Error("called")
		}
		k.settings(h.settings())
		assigned(t, k.register(k.by(e, "plain"), ""))
	})
	t.Run("risk 13: the query shows in no log and no error", func(t *testing.T) {
		e := k.enroll("hidden", custom("https://127.0.0.1:1"+secretQuery))
		st := failed(t, k.register(k.by(e, "hidden"), ""), 400207)
		logged := func() string {
			mu.Lock()
			defer mu.Unlock()
			return log.String()
		}
		until(t, "the failure's line in the log", func() bool { return strings.Contains(logged(), "registration=hidden") })
		if text := logged() + st.ErrorMessage; strings.Contains(text, "TOPSECRET") {
			t.Errorf("log: %s", text)
		}
	})
	t.Run("risk 13: which addresses are public", func(t *testing.T) {
		for text, want := range map[string]bool{"127.0.0.1": false, "::1": false, "10.1.2.3": false, "192.168.0.1": false, "172.16.9.9": false,
			"169.254.169.254": false, "fe80::1": false, "fd00::1": false, "0.0.0.0": false, "100.64.0.1": false, "::ffff:127.0.0.1": false,
			"64:ff9b::a00:1": false, "224.0.0.1": false, "255.255.255.255": false, "198.18.0.1": false, "93.184.215.14": true, "2606:2800:21f::1": true} {
			if got := dps.Public(netip.MustParseAddr(text)); got != want {
				t.Errorf("%s: %v", text, got)
			}
		}
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
