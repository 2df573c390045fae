package node_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/node"
)

// shared is what several nodes have in common.
type shared struct {
	t                testing.TB
	nats             *server.Server
	store, bus, host string
}

// share starts a NATS server, and PostgreSQL unless it runs; without PostgreSQL
// the test is skipped.
func share(t *testing.T) *shared {
	t.Helper()
	url, missing := postgres()
	if missing != "" {
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true, NoLog: true, MaxPayload: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return &shared{t, s, url, s.ClientURL(), strings.ToLower(t.Name()) + fmt.Sprint(time.Now().UnixNano()) + ".test"}
}

func (s *shared) config(name string) *node.Config {
	return navetest.Configure(s.t, func(c *node.Config) {
		c.Node, c.Store, c.Bus, c.Hub.Host = name, s.store, s.bus, s.host
	})
}

func (s *shared) run(name string) *navetest.Kit { return navetest.Run(s.t, s.config(name)) }

// answerMethods replies to every direct method with the name of a node.
func answerMethods(c *client, name string) {
	c.subscribe("$iothub/methods/POST/#")
	go func() {
		for {
			select {
			case m := <-c.got:
				_, rid, _ := strings.Cut(m.topic, "$rid=")
				c.Publish(&mqtt.Publish{Topic: "$iothub/methods/res/200/?$rid=" + rid, Payload: fmt.Appendf(nil, "%q", name)})
			case <-c.Done():
				return
			}
		}
	}()
}

func invoke(k *navetest.Kit, d *navetest.Device, wait time.Duration) (string, error) {
	r, err := k.Backend.Invoke(context.Background(), d.ID, nave.Call{Method: "where", Timeout: patience, Connect: wait})
	if err != nil {
		return "", err
	}
	return string(r.Payload), nil
}

// presence returns what a node reads about an identity, on the store only.
func presence(t *testing.T, k *navetest.Kit, d *navetest.Device) nave.Presence {
	t.Helper()
	i, err := k.Backend.Device(context.Background(), d.ID)
	if err != nil {
		t.Fatal(err)
	}
	return i.Presence
}

func TestTwoNodes(t *testing.T) {
	t.Parallel()
	s := share(t)
	a, b := s.run("a"), s.run("b")
	ctx := context.Background()

	t.Run("method", func(t *testing.T) {
		d := a.Device("m1")
		if _, err := invoke(a, d, 0); !errors.Is(err, fault.DeviceNotOnline) {
			t.Fatalf("before it connects: %v", err)
		}
		waiting := make(chan error, 1)
		go func() {
			_, err := invoke(a, d, patience)
			waiting <- err
		}()
		answerMethods(connect(t, b, d), "b")
		if err := await(t, waiting, "reply to the call that waited"); err != nil {
			t.Errorf("a call that waits for the device: %v", err)
		}
		for _, k := range []*navetest.Kit{a, b} {
			if r, err := invoke(k, d, 0); err != nil || r != `"b"` {
				t.Errorf("%s, %v", r, err)
			}
		}
	})
	t.Run("cloud to device", func(t *testing.T) {
		d := a.Device("c1")
		c := connect(t, b, d)
		c.subscribe("devices/c1/messages/devicebound/#")
		for n := range 3 {
			m := &nave.C2D{On: d.ID, Message: nave.Message{Body: fmt.Append(nil, n)}}
			if err := a.Backend.SendToDevice(ctx, m); err != nil {
				t.Fatal(err)
			}
			if got := await(t, c.got, "message"); got.body != fmt.Sprint(n) {
				t.Errorf("message %d: %+v", n, got)
			}
		}
	})
	t.Run("desired properties", func(t *testing.T) {
		d := a.Device("t1")
		c := connect(t, b, d)
		c.subscribe("$iothub/twin/PATCH/properties/desired/#")
		if r := a.REST("PATCH", "/twins/t1", `{"properties":{"desired":{"on":true}}}`); r.Status != 200 {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
		if got := await(t, c.got, "notification"); !strings.Contains(got.body, `"on":true`) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("events", func(t *testing.T) {
		d := a.Device("e1")
		connect(t, b, d).send("e1", 1, "from b")
		e := a.Events(1, func(e *nave.Event) bool { return telemetry(e) && e.From == d.ID })[0]
		if string(e.Body) != "from b" {
			t.Errorf("%s", e.Body)
		}
	})
	t.Run("disabling", func(t *testing.T) {
		d := a.Device("x1")
		c := connect(t, b, d)
		if r := a.REST("PUT", "/devices/x1", `{"deviceId":"x1","status":"disabled"}`, "If-Match: *"); r.Status != 200 {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
		await(t, c.closed, "end of the connection")
	})
	t.Run("policies", func(t *testing.T) {
		if _, err := a.Hub.PutPolicy(ctx, nave.Policy{Name: "fresh", Rights: nave.ServiceConnect}); err != nil {
			t.Fatal(err)
		}
		until(t, "the other node knows the policy", func() bool { _, ok := b.Hub.Policy("fresh"); return ok })
	})
}

func TestTakeoverAcrossNodes(t *testing.T) {
	t.Parallel()
	s := share(t)
	a, b := s.run("a"), s.run("b")
	ctx := context.Background()
	d := a.Device("d1")
	old := connect(t, a, d, func(o *mqtt.ClientOptions) { o.ManualAck = true })
	old.subscribe("devices/d1/messages/devicebound/#")
	until(t, "the store has it at a", func() bool { return presence(t, b, d).Node == "a" })
	if err := a.Backend.SendToDevice(ctx, &nave.C2D{On: d.ID, Message: nave.Message{Body: []byte("unsettled")}}); err != nil {
		t.Fatal(err)
	}
	await(t, old.got, "message")

	next := connect(t, b, d)
	await(t, old.closed, "end of the old connection")
	next.subscribe("devices/d1/messages/devicebound/#")
	if got := await(t, next.got, "message that the old connection did not settle"); got.body != "unsettled" {
		t.Errorf("%+v", got)
	}
	until(t, "the store has it at b", func() bool { p := presence(t, a, d); return p.Connected && p.Node == "b" })
	// What a still has to write about the old connection changes nothing.
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if p := presence(t, b, d); !p.Connected || p.Node != "b" {
			t.Fatalf("presence %+v", p)
		}
	}
	until(t, "the connection is at b alone", func() bool { return a.Hub.Connections() == 0 && b.Hub.Connections() == 1 })
	answerMethods(next, "b")
	if r, err := invoke(a, d, 0); err != nil || r != `"b"` {
		t.Errorf("method: %s, %v", r, err)
	}
	next.Close()
	until(t, "both nodes see it gone", func() bool { return !presence(t, a, d).Connected && !presence(t, b, d).Connected })

	// At once at both: one of the two stays, and only one.
	for n := range 5 {
		d := a.Device(fmt.Sprint("race", n))
		both := make(chan *client, 2)
		for _, k := range []*navetest.Kit{a, b} {
			go func() {
				c, err := dial(t, k.DialMQTT(), d)
				if err != nil {
					c = nil
				}
				both <- c
			}()
		}
		one, two := await(t, both, "connection"), await(t, both, "connection")
		until(t, "one connection is left", func() bool { return a.Hub.Connections()+b.Hub.Connections() == 1 })
		for _, c := range []*client{one, two} {
			if c != nil {
				c.Kill()
			}
		}
		until(t, "none is left", func() bool { return a.Hub.Connections()+b.Hub.Connections() == 0 })
	}
}

// TestCrash kills one of two nodes.
func TestCrash(t *testing.T) {
	t.Parallel()
	s := share(t)
	a := s.run("a")
	ctx := context.Background()
	d := a.Device("d1")
	alone := s.nats.NumClients()
	b := startChild(t, s.config("b"))
	c, err := dial(t, b.dialMQTT(t, s.host), d, func(o *mqtt.ClientOptions) { o.ManualAck = true })
	if err != nil {
		t.Fatal(err)
	}
	c.subscribe("devices/d1/messages/devicebound/#", "$iothub/methods/POST/#")
	if err := a.Backend.SendToDevice(ctx, &nave.C2D{On: d.ID, Message: nave.Message{Body: []byte("in delivery")}}); err != nil {
		t.Fatal(err)
	}
	await(t, c.got, "message")
	until(t, "the store has it at b", func() bool { p := presence(t, a, d); return p.Connected && p.Node == "b" })
	waiting := make(chan error, 1)
	go func() {
		_, err := a.Backend.Invoke(ctx, d.ID, nave.Call{Method: "never", Timeout: 5 * time.Minute})
		waiting <- err
	}()
	await(t, c.got, "method call")
	b.kill()
	await(t, c.closed, "end of the connection")
	until(t, "the bus knows that the node is dead", func() bool { return s.nats.NumClients() <= alone })

	if _, err := invoke(a, d, 0); !errors.Is(err, fault.DeviceNotOnline) {
		t.Errorf("method to a device of the dead node: %v", err)
	}
	if err := await(t, waiting, "end of the call that the dead node had"); !errors.Is(err, fault.GatewayTimeout) {
		t.Errorf("a call that was on its way: %v", err)
	}
	next := connect(t, a, d)
	next.subscribe("devices/d1/messages/devicebound/#")
	if got := await(t, next.got, "message that the dead node had in delivery"); got.body != "in delivery" {
		t.Errorf("%+v", got)
	}
	answerMethods(next, "a")
	if r, err := invoke(a, d, 0); err != nil || r != `"a"` {
		t.Errorf("method: %s, %v", r, err)
	}
	if p := presence(t, a, d); !p.Connected || p.Node != "a" {
		t.Errorf("presence %+v", p)
	}
}

// child is a node in a process of its own.
type child struct {
	cmd       *exec.Cmd
	in        io.Closer
	data      string
	addresses map[string]string
}

func startChild(t *testing.T, c *node.Config) *child {
	t.Helper()
	set, err := json.Marshal(map[string]any{"data": c.Data, "node": c.Node, "store": c.Store, "bus": c.Bus, "hub.host": c.Hub.Host,
		"listen.https": "127.0.0.1:0", "listen.mqtt": "127.0.0.1:0", "listen.amqp": "off", "listen.console": "off"})
	if err != nil {
		t.Fatal(err)
	}
	p := &child{cmd: exec.Command(os.Args[0]), data: c.Data}
	p.cmd.Env = append(os.Environ(), "NAVE_TEST_CHILD=node", "NAVE_TEST_SET="+string(set))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		p.in, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		err = json.Unmarshal([]byte(line), &p.addresses)
	}
	if err != nil {
		t.Fatalf("the node does not start: %q, %v", line, err)
	}
	return p
}

func (p *child) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

func (p *child) dialMQTT(t *testing.T, host string) net.Conn {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.data, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	nc, err := tls.Dial("tcp", p.addresses["mqtt"], &tls.Config{RootCAs: roots, ServerName: host})
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

// nodeChild runs a node until its standard input ends.
func nodeChild() {
	var set map[string]any
	err := json.Unmarshal([]byte(os.Getenv("NAVE_TEST_SET")), &set)
	var c *node.Config
	if err == nil {
		c, err = node.Load("", nil, set)
	}
	var n *node.Node
	if err == nil {
		n, err = node.Start(context.Background(), c, node.Options{Log: slog.New(slog.DiscardHandler)})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(map[string]string{"mqtt": n.Address("mqtt"), "https": n.Address("https"), "notes": strings.Join(n.Notes(), "\n")})
	io.Copy(io.Discard, os.Stdin)
	if err := n.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
