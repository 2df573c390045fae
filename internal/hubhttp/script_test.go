package hubhttp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hubhttp"
)

// TestTranscripts plays the scripts of testdata, each against a hub of its
// own. A line says by how it begins what it is:
//
//	== id name           a subtest begins
//	! directive          see rig.direct
//	> VERB path k=v …    a request: as=, version=, anything else is an error
//	>> Name: value       one of its headers
//	>= text              its body
//	< 200                the status of the answer
//	<< Name: value       a header of exactly this spelling; "<< !Name" none
//	<= text              the body: JSON that must be part of the answer's, or exact text
//	<~ text              text that is in the body
//
// In expectations a JSON string or header value "$name" keeps what is there
// under the name, "*" is any text that is not empty. {{name}} stands for what
// was kept, [[x*9]] for nine x.
func TestTranscripts(t *testing.T) {
	for _, file := range scripts(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { play(t, file) })
	}
}

func scripts(t *testing.T) []string {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v: %v", files, err)
	}
	return files
}

// player is a rig on its way through a script: the request that is being put
// together or was sent last, its answer, and the line.
type player struct {
	*rig
	ask *ask
	got *answer
	at  string
}

func play(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &player{rig: newRig(t, options{})}
	sections := strings.Split("\n"+string(text), "\n== ")
	p.lines(t, file, 1, sections[0])
	line := strings.Count(sections[0], "\n") + 1
	for _, section := range sections[1:] {
		name, rest, _ := strings.Cut(section, "\n")
		start := line + 1
		t.Run(name, func(t *testing.T) {
			old := p.t
			p.t = t
			defer func() { p.t = old }()
			p.lines(t, file, start, rest)
			p.send()
		})
		line += strings.Count(section, "\n") + 1
	}
}

func (p *player) lines(t *testing.T, file string, first int, text string) {
	for n, line := range strings.Split(text, "\n") {
		p.at = fmt.Sprintf("%s:%d", file, first+n)
		kind, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "" || kind[0] == '#':
		case !p.line(kind, p.expand(rest)):
			t.Fatalf("%s: cannot read %q", p.at, line)
		}
		if t.Failed() {
			return
		}
	}
}

func (p *player) line(kind, rest string) bool {
	switch kind {
	case "!":
		p.send()
		p.direct(rest)
	case ">":
		p.send()
		p.ask, p.got = p.request(rest), nil
	case ">>":
		p.ask.headers = append(p.ask.headers, rest)
	case ">=":
		p.ask.body += rest
	default:
		return p.expect(kind, rest)
	}
	return true
}

func (p *player) request(rest string) *ask {
	words := strings.Fields(rest)
	q := &ask{verb: words[0], path: words[1]}
	for _, w := range words[2:] {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "as":
			q.as = value
		case "version":
			q.version = value
		default:
			p.t.Fatalf("%s: %q is unknown", p.at, w)
		}
	}
	return q
}

// send makes the exchange when the request is complete.
func (p *player) send() {
	if p.ask != nil && p.got == nil {
		p.got = p.do(*p.ask)
	}
}

func (p *player) expect(kind, rest string) bool {
	p.send()
	switch kind {
	case "<":
		if p.got.status != atoi(rest) {
			p.t.Fatalf("%s: want %s, got %s", p.at, rest, p.got)
		}
		if p.got.status >= 400 {
			if _, bulk := p.got.header("IotHubErrorCode"); !bulk {
				p.got.code(p.t)
			}
		}
	case "<<":
		p.expectHeader(rest)
	case "<=":
		p.expectBody(rest)
	case "<~":
		if !strings.Contains(p.got.body, rest) {
			p.t.Fatalf("%s: want %q in %s", p.at, rest, p.got)
		}
	default:
		return false
	}
	return true
}

func (p *player) expectHeader(rest string) {
	if name, absent := strings.CutPrefix(rest, "!"); absent {
		if v, ok := p.got.header(name); ok {
			p.t.Fatalf("%s: header %s is %q", p.at, name, v)
		}
		return
	}
	name, want, _ := strings.Cut(rest, ": ")
	got, ok := p.got.header(name)
	quoted := len(want) > 1 && want[0] == '"' && len(got) > 1 && got[0] == '"'
	if quoted {
		want, got = strings.Trim(want, `"`), strings.Trim(got, `"`)
	}
	if !ok || !p.same(want, got) {
		p.t.Fatalf("%s: want %s, got %s", p.at, rest, p.got)
	}
}

func (p *player) expectBody(rest string) {
	var want, got any
	if json.Unmarshal([]byte(rest), &want) != nil {
		if p.got.body != rest {
			p.t.Fatalf("%s: want %s, got %s", p.at, rest, p.got)
		}
		return
	}
	if err := json.Unmarshal([]byte(p.got.body), &got); err != nil {
		p.t.Fatalf("%s: %v in %s", p.at, err, p.got)
	}
	if where := p.part(want, got, ""); where != "" {
		p.t.Fatalf("%s: %s differs: want %s, got %s", p.at, where, rest, p.got)
	}
}

// part returns "" when want is contained in got, else where it is not.
func (p *player) part(want, got any, at string) string {
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return at + "/"
		}
		for k, v := range want {
			gone := strings.TrimPrefix(k, "!")
			if _, there := g[gone]; gone != k && there || gone == k && !there {
				return at + "/" + k
			}
			if gone == k {
				if where := p.part(v, g[k], at+"/"+k); where != "" {
					return where
				}
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(want) {
			return at + "[]"
		}
		for n := range want {
			if where := p.part(want[n], g[n], fmt.Sprintf("%s[%d]", at, n)); where != "" {
				return where
			}
		}
		return ""
	case string:
		if g, ok := got.(string); ok && p.same(want, g) {
			return ""
		}
	default:
		if want == got {
			return ""
		}
	}
	return at + "="
}

// same compares a text with a pattern.
func (p *player) same(want, got string) bool {
	if name, keep := strings.CutPrefix(want, "$"); keep && regexp.MustCompile(`^[a-z]\w*$`).MatchString(name) {
		p.vars[name] = got
		return got != ""
	}
	if prefix, any := strings.CutSuffix(want, "*"); any {
		return got != "" && strings.HasPrefix(got, prefix)
	}
	return want == got
}

var (
	placeholder = regexp.MustCompile(`\{\{(\w+)\}\}`)
	repetition  = regexp.MustCompile(`\[\[(.+?)\*(\d+)\]\]`)
)

func (p *player) expand(text string) string {
	text = repetition.ReplaceAllStringFunc(text, func(m string) string {
		parts := repetition.FindStringSubmatch(m)
		return strings.Repeat(parts[1], atoi(parts[2]))
	})
	return placeholder.ReplaceAllStringFunc(text, func(m string) string {
		name := m[2 : len(m)-2]
		v, ok := p.vars[name]
		if !ok && name == "host" {
			return p.host
		}
		if !ok {
			p.t.Fatalf("%s: nothing is kept as %s", p.at, name)
		}
		return v
	})
}

func atoi(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}

// direct obeys a directive:
//
//	create d1, create d1/m1       register an identity
//	send d1 body ack mid [k=v …]  queue a message for it, "-" for none
//	connect d1 status payload     a live line that answers methods so; "silent", "deaf"
//	invoked d1 payload            the next call it got, "none" without payload
//	desired d1 document           the next notification it got
//	report d1 document            the device reports properties
//	inject code op                a fault rule for one operation
//	clock 10m                     the hub's clock goes on
func (p *player) direct(text string) {
	word := strings.Fields(text)
	switch word[0] {
	case "create":
		p.create(word[1])
	case "send":
		p.queue(word[1:])
	case "connect":
		p.live(word[1], word[2], strings.Join(word[3:], " "))
	case "invoked":
		c := next(p.t, p.peers[parseID(p.t, word[1])].calls, "call")
		if got := string(c.Payload); got != word[2] && !(got == "" && word[2] == "none") {
			p.t.Fatalf("%s: the device got %s", p.at, got)
		}
	case "desired":
		c := next(p.t, p.peers[parseID(p.t, word[1])].desired, "notification")
		if got := string(c.AppendNotification(nil)); got != word[2] {
			p.t.Fatalf("%s: the device got %s", p.at, got)
		}
	case "report":
		p.reportTwin(word[1], word[2])
	case "inject":
		if _, err := p.gate.Inject(gate.Rule{Code: atoi(word[1]), Op: word[2], Count: 1}); err != nil {
			p.t.Fatal(err)
		}
	case "clock":
		d, err := time.ParseDuration(word[1])
		if err != nil {
			p.t.Fatal(err)
		}
		ahead.Add(int64(d))
	default:
		p.t.Fatalf("%s: unknown directive", p.at)
	}
}

func (p *player) queue(word []string) {
	m := &nave.C2D{On: parseID(p.t, word[0])}
	if word[1] != "-" {
		m.Body = []byte(word[1])
	}
	m.System.Ack, m.System.MessageID = nave.Ack(word[2]), word[3]
	for _, w := range word[4:] {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "ct":
			m.System.ContentType = value
		case "ce":
			m.System.ContentEncoding = value
		case "cid":
			m.System.CorrelationID = value
		default:
			m.SetApp(name, value, true)
		}
	}
	if err := p.all.SendToDevice(context.Background(), m); err != nil {
		p.t.Fatalf("%s: %v", p.at, err)
	}
}

func (p *player) live(id, how, payload string) {
	var reply func(*nave.Call) *nave.Reply
	if how != "silent" && how != "deaf" {
		reply = func(*nave.Call) *nave.Reply { return &nave.Reply{Status: atoi(how), Payload: []byte(payload)} }
	}
	peer := p.connect(id, reply)
	peer.line.WatchDesired(how != "deaf")
	if how != "deaf" {
		peer.line.WatchMethods(true)
	}
}

func (p *player) reportTwin(id, text string) {
	d, err := nave.ParseDoc([]byte(text))
	if err == nil {
		_, err = p.peers[parseID(p.t, id)].line.Report(context.Background(), nave.Patch{Reported: d}, len(text))
	}
	if err != nil {
		p.t.Fatalf("%s: %v", p.at, err)
	}
}

// TestRoutes holds that every route has a request in a transcript.
func TestRoutes(t *testing.T) {
	played := map[string]bool{}
	for _, file := range scripts(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var q *http.Request
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if rest, ok := strings.CutPrefix(line, "> "); ok {
				words := strings.Fields(repetition.ReplaceAllString(placeholder.ReplaceAllString(rest, "x"), "x"))
				q = httptest.NewRequest(words[0], words[1], nil)
				played[hubhttp.RouteOf(q)] = true
			}
			if strings.HasPrefix(line, ">> X-HTTP-Method-Override: PATCH") {
				q.Header.Set("X-HTTP-Method-Override", "PATCH")
				played[hubhttp.RouteOf(q)] = true
			}
		}
	}
	all := hubhttp.Routes()
	for _, r := range all {
		if !played[r] {
			t.Errorf("no transcript asks for %s", r)
		}
	}
	if twice := slices.Compact(slices.Clone(all)); len(twice) != len(all) {
		t.Error("a route is declared twice")
	}
}
