package load_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/load"
)

// provisioner returns one over kept connections to the handler.
func provisioner(t *testing.T, h http.HandlerFunc, parallel int) *load.Provisioner {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	conf := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	conf.ServerName = "example.com"
	p, err := load.NewProvisioner(load.ProvisionOptions{Scope: "0ne1", Over: load.OverHTTPS, Target: load.Target{Address: s.Listener.Addr().String(), TLS: conf}, Parallel: parallel})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

const assigned = `{"operationId":"op","status":"assigned","registrationState":{"assignedHub":"hub-a","deviceId":"d-1","status":"assigned"}}`

func TestProvisionPace(t *testing.T) {
	var asked []time.Time
	p := provisioner(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, time.Now())
		switch {
		case !strings.HasPrefix(r.Header.Get("Authorization"), "SharedAccessSignature sr=0ne1%2Fregistrations%2Fd-1&"):
			t.Errorf("Authorization is %q", r.Header.Get("Authorization"))
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == "PUT" && len(asked) == 1:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"errorCode":429001,"message":"later"}`)
		case r.Method == "PUT":
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprint(w, `{"operationId":"op","status":"assigning"}`)
		case len(asked) == 3 && r.URL.Path == "/0ne1/registrations/d-1/operations/op":
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprint(w, `{"operationId":"op","status":"assigning"}`)
		default:
			fmt.Fprint(w, assigned)
		}
	}, 1)
	a, err := p.Register(t.Context(), load.Enrolled{ID: "d-1", Key: cred.NewKey()}, load.Pace{First: -1})
	if err != nil {
		t.Fatal(err)
	}
	if a.Hub != "hub-a" || a.Device != "d-1" || a.Status != "assigned" || a.Polls != 2 || len(asked) != 4 {
		t.Errorf("%+v after %d requests", a, len(asked))
	}
	for i, least := range []time.Duration{time.Second, 0, time.Second} {
		if gone := asked[i+1].Sub(asked[i]); gone < least {
			t.Errorf("request %d came after %s, the service asked for %s", i+2, gone, least)
		}
	}
}

func TestProvisionRefused(t *testing.T) {
	p := provisioner(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"errorCode":401002,"trackingId":"t-1","message":"no"}`)
	}, 1)
	_, err := p.Register(t.Context(), load.Enrolled{ID: "d-1", Key: cred.NewKey()}, load.Pace{})
	var refused *load.ProvisionError
	if !errors.As(err, &refused) || refused.Status != 401 || refused.Code != 401002 || refused.Message != "no" || refused.Tracking != "t-1" {
		t.Errorf("%#v", err)
	}
}

// TestProvisionFleet has devices that fail besides others, over connections that
// the server does not keep.
func TestProvisionFleet(t *testing.T) {
	var connections atomic.Int64
	p := provisioner(t, func(w http.ResponseWriter, r *http.Request) {
		connections.Add(1)
		w.Header().Set("Connection", "close")
		if strings.Contains(r.URL.Path, "0003") {
			fmt.Fprint(w, `{"operationId":"op","status":"failed","registrationState":{"status":"failed","errorCode":400207,"errorMessage":"webhook"}}`)
			return
		}
		fmt.Fprint(w, assigned)
	}, 4)
	e := load.NewEnrolment(p, load.Devices("f-", 10), 8)
	devices := e.Run(t.Context())
	n := e.Count()
	if len(devices) != 9 || devices[0].Host != "hub-a" || devices[0].ID != "d-1" || devices[0].Registration != "f-0000" {
		t.Errorf("%+v", devices)
	}
	if n.Registered != 10 || n.Assigned != 9 || n.Failed != 1 || !strings.Contains(n.LastError, "f-0003: the registration ended failed: 400207 webhook") || connections.Load() != 10 {
		t.Errorf("%+v over %d connections", n, connections.Load())
	}
}

// TestProvisionFleetEnds cuts a fleet off while the service is at work: what it
// may assign all the same is told, so that it can be taken back.
func TestProvisionFleetEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var begun atomic.Int64
	p := provisioner(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "300")
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, `{"operationId":"op","status":"assigning"}`)
		if begun.Add(1) == 4 {
			cancel()
		}
	}, 4)
	devices := load.NewEnrolment(p, load.Devices("f-", 4), 8).Run(ctx)
	if len(devices) != 4 {
		t.Fatalf("%+v", devices)
	}
	for _, d := range devices {
		if d.Host != "" || d.Registration == "" {
			t.Errorf("%+v", d)
		}
	}
}

func TestProvisionEnds(t *testing.T) {
	p := provisioner(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "300")
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, `{"operationId":"op","status":"assigning"}`)
	}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := p.Register(ctx, load.Enrolled{ID: "d-1", Key: cred.NewKey()}, load.Pace{Registered: cancel})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := load.NewProvisioner(load.ProvisionOptions{Over: "carrier pigeon", Target: load.Target{TLS: &tls.Config{}}}); err == nil {
		t.Error("an unknown protocol was taken")
	}
}
