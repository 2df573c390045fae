package sdk_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/node"
)

// The SDKs dial fixed ports, so the node has loopback addresses of its own:
// one it listens on, one with a certificate that nobody trusts, and one for the
// proxy of each driver.
const (
	hubName       = "sdk.nave.test"
	hubAddress    = "127.0.0.77"
	untrustedAddr = "127.0.0.78"
)

// ports are those of MQTT, of AMQP with and without TLS, and of HTTPS with
// WebSockets.
const (
	mqttPort  = "8883"
	amqpPort  = "5671"
	plainPort = "5672"
	webPort   = "443"
)

var proxyAddresses = []string{"127.0.0.81", "127.0.0.82", "127.0.0.83", "127.0.0.84", "127.0.0.85", "127.0.0.86", "127.0.0.87", "127.0.0.88"}

// rig is a running node with what the drivers need around it.
type rig struct {
	*navetest.Kit
	web       string // why there is no HTTPS, "" when there is
	authority *cred.CA
	devices   atomic.Int64
	untrusted atomic.Int64    // handshakes completed with the untrusted certificate
	hubs      map[string]*rig // one for each hub, by host, where a node has several
	dps       *provisioning   // nil unless drivers provision devices

	// Guarded by mu:
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when something was added
	events   map[nave.ID][]*nave.Event
	feedback map[[2]string]nave.Feedback // by device and original message id
}

// gate skips the test unless SDK tests are wanted.
func gate(t *testing.T) {
	t.Helper()
	if os.Getenv("NAVE_TEST_SDK") == "" {
		t.Skip("the SDK drivers run with NAVE_TEST_SDK=1; they install npm and PyPI packages into test/sdk")
	}
}

// unavailable skips the test for something that this machine lacks; where CI is
// set nothing may be lacking.
func unavailable(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// start runs a node until the test ends, or skips the test.
func start(t *testing.T) *rig {
	t.Helper()
	r := startQuiet(t)
	r.follow(t)
	return r
}

// startQuiet is start with a hub whose events and feedback nobody reads.
func startQuiet(t *testing.T) *rig {
	t.Helper()
	r := newRig()
	for _, port := range []string{mqttPort, amqpPort, plainPort} {
		if err := free(hubAddress, port); err != nil {
			unavailable(t, "MQTT or AMQP can't listen: %v", err)
		}
	}
	https := net.JoinHostPort(hubAddress, webPort)
	if err := free(hubAddress, webPort); err != nil {
		r.web, https = err.Error(), "off"
	}
	c, err := node.Load("", nil, map[string]any{"data": t.TempDir(), "hub.host": hubName, "hub.aliases": append([]string{hubAddress}, proxyAddresses...),
		"listen.mqtt": net.JoinHostPort(hubAddress, mqttPort), "listen.https": https, "listen.console": "off",
		"listen.amqp": net.JoinHostPort(hubAddress, amqpPort), "listen.amqpPlain": net.JoinHostPort(hubAddress, plainPort),
		"hub.feedbackEvery": "50ms", "hub.events.consumerGroups": []string{"dashboard"}})
	if err != nil {
		t.Fatal(err)
	}
	r.Kit = navetest.Run(t, c)
	r.distrust(t)
	if r.authority, err = cred.NewCA("devices of the SDK drivers", time.Hour); err != nil {
		t.Fatal(err)
	}
	pem, _ := r.authority.PEM()
	if err := r.Hub.PutAuthority(t.Context(), "drivers", string(pem)); err != nil {
		t.Fatal(err)
	}
	return r
}

func newRig() *rig {
	return &rig{changed: make(chan struct{}), events: map[nave.ID][]*nave.Event{}, feedback: map[[2]string]nave.Feedback{}}
}

func free(address, port string) error {
	l, err := net.Listen("tcp", net.JoinHostPort(address, port))
	if err == nil {
		l.Close()
	}
	return err
}

// follow collects events and feedback until the test ends.
func (r *rig) follow(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	t.Cleanup(func() { cancel(); work.Wait() })
	for p := range r.Hub.Partitions() {
		reader, err := r.Backend.Events(ctx, p, nave.Position{})
		if err != nil {
			t.Fatal(err)
		}
		work.Go(func() {
			defer reader.Close()
			for {
				events, err := reader.Next(ctx)
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("no more events of partition %d: %v", p, err)
					}
					return
				}
				r.add(func() {
					for _, e := range events {
						if e.Source == nave.Telemetry {
							r.events[e.From] = append(r.events[e.From], e)
						}
					}
				})
			}
		})
	}
	work.Go(func() { r.followFeedback(ctx, t) })
}

func (r *rig) followFeedback(ctx context.Context, t *testing.T) {
	for {
		batch, err := r.Backend.NextFeedback(ctx)
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("no more feedback: %v", err)
			}
			return
		}
		r.add(func() {
			for _, f := range batch.Records {
				r.feedback[[2]string{f.Device, f.OriginalMessageID}] = f
			}
		})
		r.Backend.SettleFeedback(ctx, batch.Lock, true) // a batch whose lock ended meanwhile comes again, and says the same
	}
}

func (r *rig) add(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

// wait returns when ready is true, which it asks after each change, with mu held.
func (r *rig) wait(ctx context.Context, ready func() bool) error {
	for {
		r.mu.Lock()
		ok, changed := ready(), r.changed
		r.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// distrust listens with a certificate of a CA that no driver knows.
func (r *rig) distrust(t *testing.T) {
	ca, err := cred.NewCA("not trusted", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Server([]string{untrustedAddr}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	ports := []string{mqttPort, amqpPort}
	if r.web == "" {
		ports = append(ports, webPort)
	}
	for _, port := range ports {
		l, err := tls.Listen("tcp", net.JoinHostPort(untrustedAddr, port), &tls.Config{Certificates: []tls.Certificate{pair}})
		if err != nil {
			t.Fatal(err)
		}
		serve(t, l, func(nc net.Conn) {
			if nc.(*tls.Conn).HandshakeContext(t.Context()) == nil {
				r.untrusted.Add(1)
			}
		})
	}
}

// serve runs f for each connection until the test ends, then closes it.
func serve(t *testing.T, l net.Listener, f func(net.Conn)) {
	var work sync.WaitGroup
	work.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer nc.Close()
				f(nc)
			})
		}
	})
	t.Cleanup(func() { l.Close(); work.Wait() })
}

// about is what a driver is told of the hub.
func (r *rig) about(proxy string) string {
	key := func(policy string) string {
		p, _ := r.Hub.Policy(policy)
		return p.Primary
	}
	all := map[string]string{"host": hubAddress, "name": hubName, "entity": r.Hub.Name(), "proxy": proxy, "untrusted": untrustedAddr, "ca": r.Node.CAFile(),
		"ownerKey": key("iothubowner"), "serviceKey": key("service"), "deviceKey": key("device"), "readKey": key("registryRead")}
	if r.dps != nil {
		all["dps"], all["scope"], all["dpsOwner"], all["second"] = dpsAddress, r.Node.DPS().Scope(), r.dps.owner.String(), secondAddress
	}
	b, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(b)
}
