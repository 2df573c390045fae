package main

import (
	"encoding/json"
	"fmt"
	"testing"
)

// fedFeeder has three items: 0 and 1 are acknowledged as 10 and 11, 2 has no
// answer.
func fedFeeder() (*feeder, *ledger) {
	l := &ledger{}
	f := &feeder{id: "cdv_1", sensor: "sen_1", command: "cmd_1", l: l, owners: &owners{of: map[int64]string{7: "cdv_2 m-0"}}}
	for n := range 3 {
		f.add(nil)
		if n < 2 {
			f.accepted(n, "created", int64(10+n))
		}
		f.land(n)
	}
	return f, l
}

// rows returns a history of items as "number:feed".
func (f *feeder) rows(ids ...[2]int64) (all []feedRow) {
	for _, id := range ids {
		c := f.content(int(id[0]), nil)
		all = append(all, feedRow{ID: id[1], Message: c.Message, Value: c.Value, Observed: c.Observed})
	}
	return all
}

func TestFeedAnswerJudge(t *testing.T) {
	for _, c := range []struct {
		name, status string
		n            int
		feed         int64
		want         string
	}{
		{"again", "idempotent", 0, 10, ""},
		{"stored again", "created", 0, 12, "m-0 was stored as 10, was sent again and stored again, as 12"},
		{"another id", "idempotent", 1, 10, "m-1 was stored as 11 and is now answered with 10"},
		{"known before it was sent", "idempotent", 2, 12, "m-2 was sent for the first time"},
		{"no id", "created", 2, 0, `m-2 was answered "created" with feed_data_id 0`},
		{"processed", "processed", 2, 12, `m-2 was answered "processed"`},
		{"the first answer", "created", 2, 12, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, l := fedFeeder()
			if c.n < 2 {
				f.items[c.n].tries++
			}
			f.accepted(c.n, c.status, c.feed)
			expect(t, l, c.want)
			if got := len(f.waiting) == 0; got != (c.n == 2 && c.want == "") {
				t.Errorf("waiting are %v", f.waiting)
			}
		})
	}
}

func TestHistoryJudge(t *testing.T) {
	for _, c := range []struct {
		name string
		rows [][2]int64 // the newest first
		bend func(all []feedRow)
		want string
	}{
		{"all there", [][2]int64{{1, 11}, {0, 10}}, nil, ""},
		{"and what has no answer", [][2]int64{{2, 12}, {1, 11}, {0, 10}}, nil, ""},
		{"the last is lost", [][2]int64{{0, 10}}, nil, "m-1 was acknowledged as 11 and is not in the history"},
		{"the first is lost", [][2]int64{{2, 12}, {1, 11}}, nil, "m-0 was acknowledged as 10 and is not in the history"},
		{"twice", [][2]int64{{1, 13}, {1, 11}, {0, 10}}, nil, "m-1 is stored twice"},
		{"no answer and twice", [][2]int64{{2, 13}, {2, 12}, {1, 11}, {0, 10}}, nil, "m-2 is stored twice, as 13 and as 12"},
		{"another id", [][2]int64{{1, 12}, {0, 10}}, nil, "m-1 was acknowledged as 11 and is stored as 12"},
		{"out of order", [][2]int64{{0, 10}, {1, 11}}, nil, "the history has 11 behind 10"},
		{"from nowhere", [][2]int64{{3, 12}, {1, 11}, {0, 10}}, nil, "m-3, which nobody sent"},
		{"an id of another device", [][2]int64{{1, 11}, {0, 10}, {2, 7}}, nil, "which cdv_2 m-0 has too"},
		{"another value", [][2]int64{{1, 11}, {0, 10}}, func(all []feedRow) { all[0].Value += "?" }, "m-1 was stored with another value"},
		{"another time", [][2]int64{{1, 11}, {0, 10}}, func(all []feedRow) { all[0].Observed = "2026-01-01T00:00:00Z" }, "m-1 was stored with another time"},
		{"a desired state", [][2]int64{{1, 11}, {0, 10}}, func(all []feedRow) { all[0].Desired = "des_1" }, "m-1 was stored with another desired state"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, l := fedFeeder()
			rows := f.rows(c.rows...)
			if c.bend != nil {
				c.bend(rows)
			}
			f.judge(rows, false)
			f.judgeMissing()
			expect(t, l, c.want)
		})
	}
	t.Run("settled and lost later", func(t *testing.T) {
		f, l := fedFeeder()
		f.judge(f.rows([2]int64{2, 12}, [2]int64{1, 11}, [2]int64{0, 10}), false)
		f.judgeMissing()
		expect(t, l, "")
		f.items[2].stored = 0
		f.judgeMissing()
		expect(t, l, "m-2 was in the history as 12 and is not any more")
	})
}

func TestFeedLogJudge(t *testing.T) {
	for _, c := range []struct {
		name   string
		logged [][2]int64
		bend   func(e *event)
		want   string
	}{
		{"once", [][2]int64{{0, 10}, {1, 11}}, nil, ""},
		{"more than once", [][2]int64{{0, 10}, {1, 11}, {0, 10}}, nil, ""},
		{"lost", [][2]int64{{0, 10}}, nil, "m-1 is stored as 11 and is not in the event log"},
		{"logged and not stored", [][2]int64{{0, 10}, {1, 11}, {2, 12}}, nil, "m-2 is in the event log as 12 and in the history as 0"},
		{"under another id", [][2]int64{{0, 10}, {1, 12}}, nil, "m-1 is in the event log as 12 and in the history as 11"},
		{"under two ids", [][2]int64{{0, 10}, {1, 11}, {1, 12}}, nil, "m-1 is in the log as 11 and as 12"},
		{"from nowhere", [][2]int64{{0, 10}, {1, 11}, {9, 12}}, nil, "nobody sent"},
		{"without the property", [][2]int64{{0, 10}, {1, 11}}, func(e *event) { delete(e.Properties, "feedDataId") }, "nobody sent"},
		{"another source of events", [][2]int64{{0, 10}, {1, 11}}, func(e *event) { e.Source = "Telemetry" }, "nobody sent an event"},
		{"changed", [][2]int64{{0, 10}, {1, 11}}, func(e *event) { e.Body = json.RawMessage(`{"feed_data_id":11,"message_id":"m-1","value":"?"}`) }, "was sent as"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, l := fedFeeder()
			g := &eventLog{l: l, devices: map[string]*device{}, feeders: map[string]*feeder{f.id: f}}
			f.forget()
			for at, id := range c.logged {
				e := eventOf(t, f, int(id[0]), id[1])
				if at == 1 && c.bend != nil {
					c.bend(e)
				}
				g.take(e, e.Body)
			}
			f.checkLogged()
			expect(t, l, c.want)
		})
	}
}

func eventOf(t *testing.T, f *feeder, n int, feed int64) *event {
	t.Helper()
	body, err := json.Marshal(struct {
		content
		Feed int64 `json:"feed_data_id"`
	}{f.content(n, nil), feed})
	if err != nil {
		t.Fatal(err)
	}
	e := &event{Source: "iot/v1", Device: f.id, Body: body, Properties: map[string]*string{"feedDataId": new(fmt.Sprint(feed))}}
	e.System.MessageID = messageOf(n)
	return e
}

func TestWishJudge(t *testing.T) {
	for _, c := range []struct {
		name     string
		reported bool // and acknowledged as 20
		replaced bool
		have     wishAnswer
		good     bool
	}{
		{"waits", false, false, wishAnswer{Status: "pending"}, true},
		{"applied", true, false, wishAnswer{Status: "applied", Feed: 20}, true},
		{"applied and replaced", true, true, wishAnswer{Status: "applied", Feed: 20}, true},
		{"the report is lost", true, false, wishAnswer{Status: "pending"}, false},
		{"by another item", true, false, wishAnswer{Status: "applied", Feed: 21}, false},
		{"without a report", false, false, wishAnswer{Status: "applied", Feed: 20}, false},
		{"replaced", false, true, wishAnswer{Status: "superseded"}, true},
		{"replaced and still open", false, true, wishAnswer{Status: "pending"}, false},
		{"replaced by nothing", false, false, wishAnswer{Status: "superseded"}, false},
		{"reported and replaced", true, true, wishAnswer{Status: "superseded"}, false},
		{"another value", false, false, wishAnswer{Status: "pending", Value: "9"}, false},
		{"expired", false, false, wishAnswer{Status: "expired"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, l := fedFeeder()
			w := &wish{value: "1", id: "des_1", sequence: 1, report: -1}
			f.wishes = []*wish{w}
			if c.reported {
				w.report = f.add(w)
				f.accepted(w.report, "created", 20)
				w.done = true
			}
			c.have.Sequence = 1
			if c.have.Value == "" {
				c.have.Value = "1"
			}
			f.judgeWish(w, &c.have, c.replaced)
			if n, text := l.violations(); (n == 0) != c.good {
				t.Error(text)
			}
		})
	}
}
