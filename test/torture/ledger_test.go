package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// The judges must find what they are there for: each case is a log that breaks
// one promise.
func TestEventJudge(t *testing.T) {
	for _, c := range []struct {
		name   string
		acked  int
		stored []int
		alien  bool // the last body is another
		want   string
	}{
		{"all there", 3, []int{0, 1, 2}, false, ""},
		{"unacknowledged and stored", 2, []int{0, 1, 2}, false, ""},
		{"unacknowledged and not stored", 2, []int{0, 1}, false, ""},
		{"the last is lost", 3, []int{0, 1}, false, "message 2 was acknowledged on connection 0 and is not in the log"},
		{"one is lost", 3, []int{0, 2}, false, "message 1 was acknowledged"},
		{"twice", 3, []int{0, 1, 1, 2}, false, "stored twice"},
		{"out of order", 3, []int{0, 2, 1}, false, "out of order"},
		{"a gap in front of what nobody acknowledged", 1, []int{0, 2}, false, "message 2 of connection 0 is stored and 1, sent before it, is not"},
		{"changed", 3, []int{0, 1, 2}, true, "was stored as"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &ledger{}
			d := newDevice("d", "", l, 20)
			d.trips = []*trip{{sent: []int{0, 1, 2}, acked: c.acked}}
			g := &eventLog{l: l, devices: map[string]*device{"d": d}}
			d.forget()
			for i, n := range c.stored {
				e := &event{Source: "Telemetry", Device: "d", Properties: map[string]*string{"trip": new("0")}}
				e.System.MessageID = strconv.Itoa(n)
				body := d.body(n)
				if c.alien && i == len(c.stored)-1 {
					body = append(body, '?')
				}
				g.take(e, body)
			}
			d.checkEvents()
			expect(t, l, c.want)
		})
	}
}

func expect(t *testing.T, l *ledger, want string) {
	t.Helper()
	n, shown := l.violations()
	if text := strings.Join(shown, "\n"); (n > 0) != (want != "") || !strings.Contains(text, want) {
		t.Errorf("%d violations: %s; wanted: %s", n, text, want)
	}
}

func TestReadingJudge(t *testing.T) {
	old := []stamp{{1, 10}, {2, 20}, {5, 30}}
	for _, c := range []struct {
		name string
		now  []stamp
		want string
	}{
		{"more", []stamp{{1, 10}, {2, 20}, {5, 30}, {6, 1}}, ""},
		{"fewer", old[:2], "3 events were read before, now 2"},
		{"another number", []stamp{{1, 10}, {3, 20}, {5, 30}}, "sequence number 2 before, now 3"},
		{"another content", []stamp{{1, 10}, {2, 21}, {5, 30}}, "content has changed"},
		{"a number twice", []stamp{{1, 10}, {2, 20}, {5, 30}, {5, 31}}, "sequence number 5 follows 5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &eventLog{l: &ledger{}}
			g.stored[0] = old
			g.compare(0, c.now)
			expect(t, g.l, c.want)
		})
	}
}

func TestTwinJudge(t *testing.T) {
	for _, c := range []struct {
		shown string
		good  bool
	}{
		{`{"n":2,"key1":1,"key2":2,"$version":3,"$metadata":{}}`, true},
		{`{"n":3,"key1":1,"key2":2,"key3":3,"$version":4}`, true},  // the open patch was applied
		{`{"n":1,"key1":1,"$version":2}`, false},                   // an acknowledged one is lost
		{`{"n":2,"key1":1,"key2":2,"$version":4}`, false},          // a version without its patch
		{`{"n":3,"key1":1,"key2":2,"$version":4}`, false},          // half of a patch
		{`{"n":2,"key1":1,"key2":2,"x":9,"$version":3}`, false},    // from nowhere
		{`{"n":3,"key1":1,"key2":2,"key3":3,"$version":3}`, false}, // a patch without its version
	} {
		var s twin
		s.init()
		for range 2 {
			s.reported.begin()
			s.reported.applied()
		}
		s.reported.begin()
		var shown map[string]json.RawMessage
		if err := json.Unmarshal([]byte(c.shown), &shown); err != nil {
			t.Fatal(err)
		}
		if err := s.reported.check(shown); (err == nil) != c.good {
			t.Errorf("%s: %v", c.shown, err)
		}
	}
}

func TestQueueJudge(t *testing.T) {
	l := &ledger{}
	d := newDevice("d", "", l, 20)
	d.inbox.tried = 2
	d.inbox.accepted["d-c0"], d.inbox.accepted["d-c1"] = 1, 2
	d.inbox.received["d-c0"] = true
	d.checkReceived()
	expect(t, l, "command d-c1 (sequence number 2) was accepted, is not queued and was never delivered")
}

func TestRegistryJudge(t *testing.T) {
	one := &record{Generation: "1", Reason: "a"}
	changed := &record{Generation: "1", Reason: "b"}
	anew := &record{Generation: "2", Reason: "b"}
	for _, c := range []struct {
		name string
		e    entry
		have *record
		good bool
	}{
		{"created", entry{unsure: true, reason: "b"}, changed, true},
		{"changed", entry{now: one, unsure: true, reason: "b"}, changed, true},
		{"created anew", entry{now: one, unsure: true, reason: "b"}, anew, false},
		{"gone", entry{now: one, unsure: true, reason: "b"}, nil, false},
		{"deleted", entry{now: one, unsure: true, removal: true}, nil, true},
		{"changed and not deleted", entry{now: one, unsure: true, removal: true}, changed, false},
	} {
		if got := c.e.explains(c.have); got != c.good {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
