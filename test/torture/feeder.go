package main

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How a feeder sends its items.
const (
	single = iota // one a request
	batch
	byMQTT
	ways
)

// item is one physical event of a control device. Its number is its message id
// and, with the feeder, what it holds.
type item struct {
	wish   *wish // the desired state that it answers, nil for a sensor's reading
	tries  int
	flying bool  // a request with it is under way
	acked  bool  // an answer said that it is stored
	feed   int64 // feed_data_id, from an answer or the history; 0 not known

	stored int   // rows of the last reading of the history
	logged int   // events of the last reading of the log
	inLog  int64 // feedDataId there
	must   bool  // it was stored before that reading began
}

// feeder is a control device with all that it knows of its past.
type feeder struct {
	// Set by newFeeder, then read only:
	id, secret      string
	sensor, command string
	way             int
	l               *ledger
	owners          *owners
	began           time.Time
	topic, acks     string // of byMQTT

	// Guarded by mu:
	mu       sync.Mutex
	items    []*item
	waiting  []int // not acknowledged, in order
	wishes   []*wish
	token    string
	password string // of MQTT
}

// owners knows whose each feed_data_id is: they are unique within the hub.
type owners struct {
	mu sync.Mutex
	of map[int64]string
}

// claim notes an owner and returns another one that has the id.
func (o *owners) claim(feed int64, who string) (other string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if have := o.of[feed]; have != "" && have != who {
		return have
	}
	o.of[feed] = who
	return ""
}

// feedPlan lifts the limits of control devices.
var feedPlan = map[string]float64{"batch_max_items": 1000, "request_max_bytes": 1 << 20, "feed.interval": 1e-6, "feed.burst": 1e6,
	"mqtt_feed.interval": 1e-6, "mqtt_feed.burst": 1e6, "desired.interval": 1e-6, "desired.burst": 1e6, "token.interval": 1e-6, "token.burst": 1e6,
	"credential.interval": 1e-6, "credential.burst": 1e6, "catalog.interval": 1e-6, "catalog.burst": 1e6}

// newFeeder creates a control device through the console.
func newFeeder(p *process, way int, l *ledger, o *owners) (*feeder, error) {
	type source struct {
		ID   string `json:"id,omitempty"`
		Type string `json:"type"`
		Kind string `json:"kind"`
	}
	body := map[string]any{"planValues": feedPlan, "sources": []source{{Type: "sensor", Kind: "meter"}, {Type: "command", Kind: "relay"}}}
	status, text, err := p.ask(context.Background(), http.MethodPost, "/api/hubs/"+host+"/control", body)
	if err != nil || status != http.StatusCreated {
		return nil, unexpected("creating a control device", status, text, err)
	}
	var made struct {
		ID      string `json:"deviceId"`
		Secret  string `json:"clientSecret"`
		Sources []source
	}
	if err := json.Unmarshal(text, &made); err != nil {
		return nil, err
	}
	f := &feeder{id: made.ID, secret: made.Secret, way: way, l: l, owners: o, began: time.Now().UTC().Truncate(time.Second)}
	for _, s := range made.Sources {
		if s.Type == "command" {
			f.command = s.ID
		} else {
			f.sensor = s.ID
		}
	}
	if way == byMQTT {
		return f, f.catalogue(p)
	}
	return f, nil
}

// content is what an item holds.
type content struct {
	Message  string `json:"message_id"`
	Sensor   string `json:"sensor_id,omitempty"`
	Command  string `json:"command_id,omitempty"`
	Value    string `json:"value"`
	Observed string `json:"value_received_at"`
	Desired  string `json:"desired_id,omitempty"`
	Report   string `json:"report_status,omitempty"`
	Sequence int64  `json:"sequence_number,omitempty"`
}

const timeForm = "2006-01-02T15:04:05.999999999Z"

// content returns what item n holds, the same each time.
func (f *feeder) content(n int, w *wish) content {
	c := content{Message: messageOf(n), Observed: f.began.Add(time.Duration(n) * time.Millisecond).Format(timeForm)}
	if w != nil {
		c.Command, c.Value, c.Desired, c.Report, c.Sequence = f.command, w.value, w.id, "applied", w.sequence
		return c
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", f.id, n)
	c.Sensor, c.Value = f.sensor, strconv.FormatUint(h.Sum64(), 36)+strings.Repeat(` "äö\`, n%7)
	return c
}

func messageOf(n int) string { return "m-" + strconv.Itoa(n) }

func numberOf(message string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(message, "m-"))
	if err != nil || messageOf(n) != message {
		return -1
	}
	return n
}

// add makes a new item that flies; mu is held.
func (f *feeder) add(w *wish) (n int) {
	f.items = append(f.items, &item{wish: w, tries: 1, flying: true})
	n = len(f.items) - 1
	f.waiting = append(f.waiting, n)
	return n
}

// take returns items to be sent now: first those without an answer (iot-v1
// DH-7), now and then one that has its answer, otherwise new ones.
func (f *feeder) take(amount int) (taken []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	again := append([]int(nil), f.waiting...)
	if old := len(f.items); old > 0 && rand.IntN(8) == 0 {
		again = append(again, rand.IntN(old))
	}
	for _, n := range again {
		if i := f.items[n]; len(taken) < amount && !i.flying {
			i.flying, i.tries = true, i.tries+1
			taken = append(taken, n)
		}
	}
	for len(taken) < amount {
		taken = append(taken, f.add(nil))
	}
	return taken
}

// land ends the flight of items, with or without an answer.
func (f *feeder) land(taken ...int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range taken {
		f.items[n].flying = false
	}
}

// bodies returns the contents of items.
func (f *feeder) bodies(taken []int) []content {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]content, len(taken))
	for i, n := range taken {
		all[i] = f.content(n, f.items[n].wish)
	}
	return all
}

// accepted enters an answer that has been read: item n is stored as feed.
func (f *feeder) accepted(n int, status string, feed int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.items[n]
	switch {
	case feed <= 0 || status != "created" && status != "idempotent":
		f.l.violate("%s: %s was answered %q with feed_data_id %d", f.id, messageOf(n), status, feed)
		return
	case status == "created" && i.feed != 0:
		f.l.violate("%s: %s was stored as %d, was sent again and stored again, as %d", f.id, messageOf(n), i.feed, feed)
		return
	case i.feed != 0 && i.feed != feed:
		f.l.violate("%s: %s was stored as %d and is now answered with %d", f.id, messageOf(n), i.feed, feed)
		return
	case status == "idempotent" && i.tries == 1:
		f.l.violate("%s: %s was sent for the first time and is said to be stored already, as %d", f.id, messageOf(n), feed)
		return
	}
	if status == "idempotent" {
		f.l.repeated.Add(1)
	}
	i.feed = feed
	if i.acked {
		return
	}
	i.acked = true
	f.l.fed.Add(1)
	for at, m := range f.waiting {
		if m == n {
			f.waiting = append(f.waiting[:at], f.waiting[at+1:]...)
			break
		}
	}
}
