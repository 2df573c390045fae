package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
)

const (
	partitions = 4 // the default of hub.events.partitions
	readTime   = 5 * time.Minute
)

// event is one line of the console's event stream.
type event struct {
	Partition  int                `json:"partition"`
	Sequence   int64              `json:"sequenceNumber"`
	Enqueued   string             `json:"enqueuedTime"`
	Source     string             `json:"source"`
	Device     string             `json:"deviceId"`
	Body       json.RawMessage    `json:"body"`
	Encoding   string             `json:"bodyEncoding"`
	Properties map[string]*string `json:"properties"`
	System     struct {
		MessageID string `json:"messageId"`
	} `json:"system"`
}

func (e *event) bytes() ([]byte, error) {
	if len(e.Body) > 0 && e.Body[0] == '{' {
		return e.Body, nil
	}
	var text string
	if err := json.Unmarshal(e.Body, &text); err != nil {
		return nil, err
	}
	if e.Encoding == "base64" {
		return base64.StdEncoding.DecodeString(text)
	}
	return []byte(text), nil
}

// stamp is what must never change of a stored event.
type stamp struct {
	seq  int64
	hash uint64
}

// eventLog checks the log each time from its beginning.
type eventLog struct {
	// Set by newEventLog, then read only:
	l       *ledger
	devices map[string]*device
	feeders map[string]*feeder
	cards   map[string]*card // by product
	markers [partitions]*device

	// Owned by read:
	stored [partitions][]stamp // as read the last time
	total  int
	passes int
}

// mark posts one event to each partition by HTTPS and returns what they hold.
func (g *eventLog) mark(p *process) ([partitions]string, error) {
	var texts [partitions]string
	g.passes++
	for i, d := range g.markers {
		texts[i] = fmt.Sprintf("end of reading %d", g.passes)
		ctx, cancel := context.WithTimeout(context.Background(), readTime)
		status, body, err := d.post(ctx, p, texts[i])
		cancel()
		if err != nil || status != http.StatusNoContent {
			return texts, unexpected("an event by HTTPS", status, body, err)
		}
	}
	return texts, nil
}

// post sends an event by HTTPS.
func (d *device) post(ctx context.Context, p *process, body string) (int, []byte, error) {
	token, err := cred.Sign(host+"/devices/"+d.id, d.key, "", time.Now().Add(time.Hour))
	if err != nil {
		return 0, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+"/devices/"+d.id+"/messages/events?api-version=2021-04-12", strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", token)
	return do(p.web, r)
}

// check reads the whole log and compares it with what was acknowledged.
func (g *eventLog) check(p *process) error {
	for _, d := range g.devices {
		d.forget()
	}
	for _, k := range g.cards {
		k.logged = map[string]string{}
	}
	texts, err := g.mark(p)
	if err != nil {
		return err
	}
	var found [partitions][]stamp
	if err := g.read(p, texts, &found); err != nil {
		return err
	}
	g.total = 0
	for i := range found {
		g.compare(i, found[i])
		g.stored[i] = found[i]
		g.total += len(found[i])
	}
	for _, d := range g.devices {
		d.checkEvents()
	}
	return nil
}

func (g *eventLog) read(p *process, texts [partitions]string, found *[partitions][]stamp) error {
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+"/api/hubs/"+host+"/events?from=earliest", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+p.token)
	resp, err := p.console.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the event stream answers %s", resp.Status)
	}
	lines, ended := json.NewDecoder(resp.Body), 0
	for ended < partitions {
		e := event{}
		if err := lines.Decode(&e); err != nil {
			return fmt.Errorf("the event stream ended in partition order %v: %w", lengths(found), err)
		}
		if e.Partition < 0 || e.Partition >= partitions {
			return fmt.Errorf("an event of partition %d", e.Partition)
		}
		body, err := e.bytes()
		if err != nil {
			return err
		}
		h := fnv.New64a()
		fmt.Fprintf(h, "%s|%s|%s|%s|", e.Enqueued, e.Source, e.Device, e.System.MessageID)
		h.Write(body)
		found[e.Partition] = append(found[e.Partition], stamp{e.Sequence, h.Sum64()})
		if e.Device == g.markers[e.Partition].id {
			if string(body) == texts[e.Partition] {
				ended++
			}
			continue
		}
		g.take(&e, body)
	}
	return nil
}

func lengths(found *[partitions][]stamp) (n [partitions]int) {
	for i := range found {
		n[i] = len(found[i])
	}
	return n
}

// compare holds a reading against the one before: numbers rise, and what was
// there is there, under the same number.
func (g *eventLog) compare(partition int, now []stamp) {
	for i := 1; i < len(now); i++ {
		if now[i].seq <= now[i-1].seq {
			g.l.violate("partition %d: sequence number %d follows %d", partition, now[i].seq, now[i-1].seq)
			return
		}
	}
	old := g.stored[partition]
	if len(now) < len(old) {
		g.l.violate("partition %d: %d events were read before, now %d", partition, len(old), len(now))
		return
	}
	for i := range old {
		if old[i] != now[i] {
			g.l.violate("partition %d, event %d: sequence number %d before, now %d, or its content has changed", partition, i, old[i].seq, now[i].seq)
			return
		}
	}
}

// take finds the sending that an event stems from.
func (g *eventLog) take(e *event, body []byte) {
	if f := g.feeders[e.Device]; f != nil && e.Source == string(nave.ControlFeed) {
		if err := f.loggedEvent(e); err != nil {
			g.l.violate("partition %d, sequence number %d, %s: %v", e.Partition, e.Sequence, e.Device, err)
		}
		return
	}
	if e.Source == connectivitySource {
		if err := g.takeChange(body); err != nil {
			g.l.violate("partition %d, sequence number %d: %v", e.Partition, e.Sequence, err)
		}
		return
	}
	d := g.devices[e.Device]
	if d == nil || e.Source != string(nave.Telemetry) {
		g.l.violate("partition %d, sequence number %d: nobody sent an event of %q, source %q", e.Partition, e.Sequence, e.Device, e.Source)
		return
	}
	if err := d.stored(e, body); err != nil {
		g.l.violate("partition %d, sequence number %d, %s: %v", e.Partition, e.Sequence, e.Device, err)
	}
}

// forget clears what the last reading found.
func (d *device) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.trips {
		t.seen, t.last = make([]bool, len(t.sent)), -1
	}
}

// stored notes an event of the log at its sending.
func (d *device) stored(e *event, body []byte) error {
	n, err := strconv.Atoi(e.System.MessageID)
	if err != nil || e.Properties["trip"] == nil {
		return fmt.Errorf("message id %q, properties %v", e.System.MessageID, e.Properties)
	}
	number, err := strconv.Atoi(*e.Properties["trip"])
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil || number < 0 || number >= len(d.trips) {
		return fmt.Errorf("connection %s does not exist", *e.Properties["trip"])
	}
	if !bytes.Equal(body, d.body(n)) {
		return fmt.Errorf("message %d was stored as %q", n, body)
	}
	t := d.trips[number]
	at := t.last + 1
	for at < len(t.sent) && t.sent[at] != n {
		at++
	}
	switch {
	case at == len(t.sent):
		return fmt.Errorf("message %d of connection %d is stored twice or out of order (after message %d)", n, number, t.previous())
	case at > t.last+1 && !d.l.rough.Load():
		err = fmt.Errorf("message %d of connection %d is stored and %d, sent before it, is not", n, number, t.sent[t.last+1])
	}
	t.last, t.seen[at] = at, true
	return err
}

func (t *trip) previous() int {
	if t.last < 0 {
		return -1
	}
	return t.sent[t.last]
}

// checkEvents finds acknowledged messages that are not in the log.
func (d *device) checkEvents() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for number, t := range d.trips {
		for i := range t.acked {
			if !t.seen[i] {
				d.l.violate("%s: message %d was acknowledged on connection %d and is not in the log", d.id, t.sent[i], number)
			}
		}
	}
}

// newEventLog registers the devices that post markers.
func newEventLog(l *ledger, devices []*device, feeders []*feeder, carriers []*carrier, register func(id string) (*device, error)) (*eventLog, error) {
	g := &eventLog{l: l, devices: map[string]*device{}, feeders: map[string]*feeder{}, cards: map[string]*card{}}
	for _, f := range feeders {
		g.feeders[f.id] = f
	}
	for _, c := range carriers {
		for _, k := range c.cards {
			g.cards[k.id] = k
		}
	}
	for _, d := range devices {
		g.devices[d.id] = d
	}
	for n, left := 0, partitions; left > 0; n++ {
		id := "marker" + strconv.Itoa(n)
		p := nave.Partition(id, partitions)
		if g.markers[p] != nil {
			continue
		}
		d, err := register(id)
		if err != nil {
			return nil, err
		}
		g.markers[p], left = d, left-1
		if n > 1000 {
			return nil, errors.New("no device falls into a partition")
		}
	}
	return g, nil
}
