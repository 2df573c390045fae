package mqtt_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/mqtt"
)

// relay passes what one connection publishes to the one that subscribed.
type relay struct {
	mu         sync.Mutex
	to         *mqtt.Conn
	from       []mqtt.Publish
	subscribed chan byte  // the level, once somebody has
	passed     chan error // of each message
}

type relayed struct {
	r     *relay
	conn  *mqtt.Conn
	ended chan struct{}
}

func (h *relayed) Publish(p *mqtt.Publish, ack mqtt.Ack) error {
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	h.r.from = append(h.r.from, *p)
	if strings.HasPrefix(p.Topic, "denied") {
		ack.Refuse(mqtt.Denied)
		return nil
	}
	ack.Done()
	out := *p
	out.Retain, out.ID = false, 0
	if out.QoS > 0 {
		out.ID = uint16(len(h.r.from))
	}
	err := h.r.to.Publish(&out)
	h.r.passed <- err
	return err
}

func (h *relayed) Subscribe(subs []mqtt.Subscription) ([]byte, error) {
	codes := make([]byte, len(subs))
	for i, s := range subs {
		if codes[i] = min(s.QoS, 1); strings.HasPrefix(s.Filter, "denied") {
			codes[i] = mqtt.Denied
		}
	}
	return codes, nil
}

func (h *relayed) Subscribed([]mqtt.Subscription) {
	h.r.mu.Lock()
	h.r.to = h.conn
	h.r.mu.Unlock()
	h.r.subscribed <- h.conn.Level()
}

func (h *relayed) Unsubscribe([]string) error { return nil }
func (h *relayed) Acked(uint16)               {}
func (h *relayed) Closed(error)               { close(h.ended) }

func (r *relay) listen(t *testing.T) (port string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { r.serve(ctx, nc) })
		}
	})
	t.Cleanup(func() { ln.Close(); cancel(); all.Wait() })
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	return port
}

func (r *relay) serve(ctx context.Context, nc net.Conn) {
	s, c, err := mqtt.Accept(nc, mqtt.Options{Versions: mqtt.V311 | mqtt.V5, Wildcards: true, TopicAliases: 10})
	if err != nil {
		return
	}
	if c.Username == "nobody" {
		s.RefuseText(mqtt.BadUserOrPassword, "unknown user")
		return
	}
	h := &relayed{r: r, ended: make(chan struct{})}
	h.conn = s.Serve(ctx, false, h)
	h.conn.Start()
	<-h.conn.Done()
}

func needMosquitto(t *testing.T) {
	if _, err := exec.LookPath("mosquitto_pub"); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("mosquitto_pub is missing: apt-get install mosquitto-clients")
	}
	t.Skip("mosquitto_pub is missing: apt-get install mosquitto-clients")
}

func mosquitto(t *testing.T, port, tool string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, tool, append([]string{"-h", "127.0.0.1", "-p", port}, args...)...).CombinedOutput()
	return string(out), err
}

// TestMosquitto has the clients of Debian's mosquitto-clients publish, subscribe, and be refused, in both versions.
func TestMosquitto(t *testing.T) {
	needMosquitto(t)
	for _, version := range []string{"mqttv311", "mqttv5"} {
		t.Run(version, func(t *testing.T) {
			v5 := version == "mqttv5"
			r := &relay{subscribed: make(chan byte, 1), passed: make(chan error, 6)}
			port := r.listen(t)
			sub := exec.Command("mosquitto_sub", "-h", "127.0.0.1", "-p", port, "-V", version, "-i", "listener", "-q", "1", "-t", "up/#", "-C", "6", "-W", "60", "-F", "%t %q %p")
			var got bytes.Buffer
			sub.Stdout, sub.Stderr = &got, &got
			if err := sub.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case level := <-r.subscribed:
				if (level == 5) != v5 {
					t.Errorf("level %d", level)
				}
			case <-time.After(patience):
				t.Fatal("mosquitto_sub does not subscribe")
			}
			large := strings.Repeat("x", 100_000)
			for _, args := range [][]string{{"-q", "0", "-m", "zero"}, {"-q", "1", "-m", "one"}, {"-q", "1", "-m", large}} {
				if out, err := mosquitto(t, port, "mosquitto_pub", append([]string{"-V", version, "-t", "up/" + version}, args...)...); err != nil {
					t.Fatalf("%s, %v", out, err)
				}
				select { // at QoS 0 nobody tells the publisher
				case err := <-r.passed:
					if err != nil {
						t.Fatal(err)
					}
				case <-time.After(patience):
					t.Fatal("the message is not passed on")
				}
			}
			lines := exec.Command("mosquitto_pub", "-h", "127.0.0.1", "-p", port, "-V", version, "-q", "1", "-t", "up/lines", "-l")
			if v5 {
				lines.Args = append(lines.Args, "-D", "publish", "content-type", "text/plain", "-D", "publish", "user-property", "k", "v",
					"-D", "publish", "response-topic", "back", "-D", "publish", "correlation-data", "c", "-D", "publish", "message-expiry-interval", "60",
					"-D", "publish", "payload-format-indicator", "1", "-D", "connect", "session-expiry-interval", "30", "-D", "connect", "user-property", "a", "b")
			}
			lines.Stdin = strings.NewReader("a\nb\nc\n")
			if out, err := lines.CombinedOutput(); err != nil {
				t.Fatalf("%s, %v", out, err)
			}
			if err := sub.Wait(); err != nil {
				t.Fatalf("%s, %v", got.String(), err)
			}
			want := fmt.Sprintf("up/%[1]s 0 zero\nup/%[1]s 1 one\nup/%[1]s 1 %s\nup/lines 1 a\nup/lines 1 b\nup/lines 1 c\n", version, large)
			if got.String() != want {
				t.Errorf("%.300q", got.String())
			}
			r.mu.Lock()
			p := r.from[len(r.from)-1].Properties
			r.mu.Unlock()
			if v5 && (p == nil || p.ContentType != "text/plain" || p.ResponseTopic != "back" || string(p.Correlation) != "c" ||
				*p.Expiry != 60 || !p.UTF8 || len(p.User) != 1) {
				t.Errorf("%+v", p)
			}
			out, err := mosquitto(t, port, "mosquitto_pub", "-V", version, "-u", "nobody", "-t", "t", "-m", "m")
			if want := map[bool]string{false: "bad user name or password", true: "Bad User Name or Password"}[v5]; err == nil || !strings.Contains(out, want) {
				t.Errorf("refused: %q, %v", out, err)
			}
			out, _ = mosquitto(t, port, "mosquitto_sub", "-d", "-V", version, "-t", "denied", "-W", "60", "-E")
			if want := map[bool]string{false: "Subscribed (mid: 1): 128", true: "Subscribed (mid: 1): 135"}[v5]; !strings.Contains(out, want) {
				t.Errorf("subscription: %q", out)
			}
			if v5 {
				out, _ = mosquitto(t, port, "mosquitto_pub", "-V", version, "-q", "1", "-t", "denied", "-m", "m", "-d")
				if !strings.Contains(out, "RC:135") {
					t.Errorf("denied: %q", out)
				}
			}
		})
	}
}
