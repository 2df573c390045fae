package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/node"
)

// TestScripts runs testdata/*.txt, each against a node of its own. A script is
// read like a manual:
//
//	# a comment
//	$ nave device list            a command; 'quotes' and $NAME are understood
//	% nave why sensor1            one that is repeated until it shows what a node notes in its own time
//	DEVICE  STATUS                a line of stdout; … is any text, and alone any lines
//	! Created sensor1.            a line of stderr
//	= 1                           the exit code, 0 when it is not said
//	< {"a":1}                     a line of stdin for the next command
//	@ connect sensor1             a device comes, answers methods, and
//	@ send sensor1 {"t":21}       sends telemetry
//	@ settled sensor1             has taken every message that waited for it
//	@ leave sensor1               goes in order
//	@ deny sensor1                comes with a wrong key and is refused
func TestScripts(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			s := newStage(t)
			for _, step := range parseScript(string(text)) {
				s.play(t, name, &step)
			}
		})
	}
}

// step is a command with what it should print, or an action of a device.
type step struct {
	line         int
	command, act string
	in           string
	out, err     []string
	code         int
	patient      bool
}

func parseScript(text string) (steps []step) {
	in := ""
	for n, line := range strings.Split(text, "\n") {
		head, rest, _ := strings.Cut(line, " ")
		var last *step
		if len(steps) > 0 {
			last = &steps[len(steps)-1]
		}
		switch {
		case line == "" || head == "#":
		case head == "$", head == "%":
			steps = append(steps, step{line: n + 1, command: rest, in: in, patient: head == "%"})
			in = ""
		case head == "@":
			steps = append(steps, step{line: n + 1, act: rest})
		case head == "<":
			in += rest + "\n"
		case head == "!":
			last.err = append(last.err, rest)
		case head == "=":
			last.code, _ = strconv.Atoi(rest)
		default:
			last.out = append(last.out, line)
		}
	}
	return steps
}

// stage is a node with its console, and the devices of a script.
type stage struct {
	*navetest.Kit
	names   map[string]string
	devices map[string]*mqtt.Client
	acked   chan uint16
	packet  uint16
}

func newStage(t *testing.T, change ...func(*node.Config)) *stage {
	t.Helper()
	k := navetest.Start(t, change...)
	for name, value := range map[string]string{"NAVE_DATA": filepath.Dir(k.Node.CAFile()), "NAVE_CONSOLE": "", "NAVE_TOKEN": "", "NAVE_LOGIN": "", "NAVE_HUB": "", "NAVE_CONFIG": "", "NO_COLOR": ""} {
		t.Setenv(name, value)
	}
	p, _ := k.Hub.Policy("iothubowner")
	login := cred.ConnectionString{HostName: k.Hub.Host(), Gateway: k.Node.Address("https"), Policy: p.Name, Key: p.Primary}
	wrong := cred.ConnectionString{HostName: k.Hub.Host(), Gateway: k.Node.Address("https"), Policy: p.Name, Key: cred.NewKey()}
	ca, err := cred.NewCA("plant", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pem, key := ca.PEM()
	cert, certKey, err := ca.Client("press-7", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	files := t.TempDir()
	for name, text := range map[string][]byte{"plant.pem": pem, "plant.key": key, "press.pem": cert, "press.key": certKey} {
		if err := os.WriteFile(filepath.Join(files, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	provisioning, err := k.Node.DPS().OwnerConnection(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	provisioning += ";GatewayHostName=" + k.Node.Address("https")
	return &stage{Kit: k, devices: map[string]*mqtt.Client{}, acked: make(chan uint16, 16),
		names: map[string]string{"LOGIN": login.String(), "WRONG": wrong.String(), "CA": k.Node.CAFile(), "PLANT": filepath.Join(files, "plant.pem"), "PLANTKEY": filepath.Join(files, "plant.key"),
			"PRESS": filepath.Join(files, "press.pem"), "PRESSKEY": filepath.Join(files, "press.key"), "DPSLOGIN": provisioning,
			"SCOPE": k.Node.DPS().Scope(), "MQTT": k.Node.Address("mqtt"), "TMP": t.TempDir()}}
}

func (s *stage) play(t *testing.T, name string, p *step) {
	t.Helper()
	at := fmt.Sprintf("%s:%d", name, p.line)
	if p.act != "" {
		if err := s.act(strings.SplitN(p.act, " ", 3)); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		return
	}
	words := splitWords(os.Expand(p.command, func(n string) string { return s.names[n] }))
	if words[0] != "nave" {
		t.Fatalf("%s: not a command of nave", at)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var out, stderr bytes.Buffer
	var code int
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		out.Reset()
		stderr.Reset()
		e := newEnv(strings.NewReader(p.in), &out, &stderr)
		e.shell = time.Minute // a test has no shell that would wait
		code = runContext(ctx, words[1:], e)
		if !p.patient || time.Now().After(end) || code == p.code && match(p.out, lines(out.String())) && match(p.err, lines(stderr.String())) {
			break
		}
	}
	if code != p.code {
		t.Errorf("%s: exit code %d, want %d", at, code, p.code)
	}
	for _, c := range []struct {
		stream    string
		got, want []string
	}{{"stdout", lines(out.String()), p.out}, {"stderr", lines(stderr.String()), p.err}} {
		if !match(c.want, c.got) {
			t.Errorf("%s: %s of %s is\n%s\nwant\n%s", at, c.stream, p.command, strings.Join(c.got[:min(40, len(c.got))], "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// lines splits a text, without empty lines.
func lines(text string) (all []string) {
	for line := range strings.SplitSeq(text, "\n") {
		if strings.TrimSpace(line) != "" {
			all = append(all, line)
		}
	}
	return all
}

// match compares lines with patterns.
func match(want, got []string) bool {
	switch {
	case len(want) == 0:
		return len(got) == 0
	case want[0] == "…":
		return match(want[1:], got) || len(got) > 0 && match(want, got[1:])
	case len(got) == 0:
		return false
	}
	pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(want[0]), "…", ".*") + "$"
	return regexp.MustCompile(pattern).MatchString(got[0]) && match(want[1:], got[1:])
}

// splitWords splits a command line at blanks, but not inside single quotes.
func splitWords(text string) (words []string) {
	word, quoted, begun := "", false, false
	for _, r := range text {
		switch {
		case r == '\'':
			quoted, begun = !quoted, true
		case r == ' ' && !quoted:
			if begun {
				words = append(words, word)
			}
			word, begun = "", false
		default:
			word, begun = word+string(r), true
		}
	}
	if begun {
		words = append(words, word)
	}
	return words
}

// act does what a device does: words are the verb, the device, and the rest.
func (s *stage) act(words []string) error {
	id, err := nave.ParseID(words[1])
	if err != nil {
		return err
	}
	switch words[0] {
	case "connect":
		return s.connect(id)
	case "deny":
		if _, err := s.dial(id, cred.NewKey(), mqtt.ClientHandler{}); err == nil {
			return errors.New("the device was let in")
		}
		return nil
	case "settled":
		for tick := time.Tick(5 * time.Millisecond); ; <-tick {
			if i, err := s.Backend.Device(context.Background(), id); err != nil || i.Pending == 0 {
				return err
			}
		}
	case "leave":
		c := s.devices[words[1]]
		c.Close()
		<-c.Done()
		for tick := time.Tick(5 * time.Millisecond); ; <-tick {
			if i, err := s.Backend.Device(context.Background(), id); err != nil || !i.Presence.Connected {
				return err
			}
		}
	case "send":
		s.packet++
		c := s.devices[words[1]]
		p := &mqtt.Publish{Topic: "devices/" + id.Device + "/messages/events/$.ct=application%2Fjson&site=north", Payload: []byte(words[2]), QoS: 1, ID: s.packet}
		if err := c.Publish(p); err != nil {
			return err
		}
		<-s.acked
		return nil
	}
	return fmt.Errorf("unknown action %q", words[0])
}

// connect brings a device that answers every method with its own payload.
func (s *stage) connect(id nave.ID) error {
	i, err := s.Backend.Device(context.Background(), id)
	if err != nil {
		return err
	}
	var c *mqtt.Client
	ready := make(chan struct{})
	c, err = s.dial(id, i.Auth.Primary, mqtt.ClientHandler{
		Acked: func(id uint16) { s.acked <- id },
		Message: func(p *mqtt.Publish) {
			<-ready
			if _, rid, ok := strings.Cut(p.Topic, "$rid="); ok {
				c.Publish(&mqtt.Publish{Topic: "$iothub/methods/res/207/?$rid=" + rid, Payload: bytes.Clone(p.Payload)})
			}
		}})
	if err != nil {
		return err
	}
	close(ready)
	s.devices[id.String()] = c
	_, err = c.Subscribe(context.Background(), mqtt.Subscription{Filter: "$iothub/methods/POST/#"}, mqtt.Subscription{Filter: "devices/" + id.Device + "/messages/devicebound/#", QoS: 1})
	return err
}

func (s *stage) dial(id nave.ID, key string, h mqtt.ClientHandler) (*mqtt.Client, error) {
	token, err := cred.Sign(s.Hub.Host()+"/devices/"+id.Device, key, "", time.Now().Add(time.Hour))
	if err != nil {
		return nil, err
	}
	c, _, err := mqtt.Open(s.DialMQTT(), mqtt.ClientOptions{ClientID: id.String(), Username: s.Hub.Host() + "/" + id.String() + "/?api-version=2021-04-12", Password: []byte(token), KeepAlive: 60}, h)
	return c, err
}
