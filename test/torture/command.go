package main

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/mqtt"
)

// inbox is what is known of a device's queue of commands. Guarded by device.mu.
type inbox struct {
	tried    int            // commands that the back end has sent
	accepted map[string]int // sequence numbers of those acknowledged, by message id
	lastSeq  int
	received map[string]bool
	acked    map[string]bool // the device has sent a PUBACK
	keen     bool            // acknowledge every command
}

func (i *inbox) init() {
	i.accepted, i.received, i.acked = map[string]int{}, map[string]bool{}, map[string]bool{}
}

// commandBody is what command mid holds.
func commandBody(mid string) string { return "do " + mid + strings.Repeat("!", len(mid)%5) + " äöü" }

// send puts a command into the device's queue; false when the hub is gone.
func (d *device) sendCommand(ctx context.Context, p *process) bool {
	d.mu.Lock()
	mid := d.id + "-c" + strconv.Itoa(d.inbox.tried)
	d.inbox.tried++
	d.mu.Unlock()
	body := map[string]any{"deviceId": d.id, "body": commandBody(mid), "system": map[string]string{"messageId": mid}}
	status, answer, err := p.ask(ctx, http.MethodPost, "/api/hubs/"+host+"/c2d", body)
	if err != nil {
		return false
	}
	if status != http.StatusCreated {
		full := status == http.StatusForbidden && strings.Contains(string(answer), "403004")
		if !full && (status < 500 || !d.l.excused()) {
			d.l.violate("%s: command %s was answered with %d %s", d.id, mid, status, answer)
		}
		return true
	}
	var a struct{ SequenceNumber int }
	if err := json.Unmarshal(answer, &a); err != nil {
		d.l.violate("%s: command %s: %v in %s", d.id, mid, err, answer)
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if a.SequenceNumber <= d.inbox.lastSeq {
		d.l.violate("%s: command %s has sequence number %d after %d", d.id, mid, a.SequenceNumber, d.inbox.lastSeq)
	}
	d.inbox.accepted[mid], d.inbox.lastSeq = a.SequenceNumber, a.SequenceNumber
	d.l.commands.Add(1)
	return true
}

// command takes a command and acknowledges most of them.
func (r *rider) command(p *mqtt.Publish) {
	d := r.d
	_, bag, _ := strings.Cut(p.Topic, "/messages/devicebound/")
	q, err := url.ParseQuery(bag)
	mid := q.Get("$.mid")
	number, isOurs := strings.CutPrefix(mid, d.id+"-c")
	n, err2 := strconv.Atoi(number)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err != nil || err2 != nil || !isOurs || n >= d.inbox.tried:
		d.l.violate("%s: a command that nobody sent: %s", d.id, p.Topic)
		return
	case string(p.Payload) != commandBody(mid):
		d.l.violate("%s: command %s arrived as %q", d.id, mid, p.Payload)
	case r.seen[mid]:
		d.l.violate("%s, connection %d: command %s was delivered twice", d.id, r.number, mid)
	}
	r.seen[mid] = true
	if !d.inbox.received[mid] {
		d.inbox.received[mid] = true
		d.l.received.Add(1)
	}
	if !d.inbox.keen && rand.IntN(10) > 5 {
		return
	}
	if r.c.Ack(p.ID) == nil {
		if !d.inbox.acked[mid] {
			d.l.completed.Add(1)
		}
		d.inbox.acked[mid] = true
	}
}

// queued returns how many commands the hub says are in the queue.
func (d *device) queued(p *process) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	status, body, err := p.rest(ctx, http.MethodGet, "/devices/"+d.id, nil)
	if err != nil || status != http.StatusOK {
		return 0, unexpected("reading "+d.id, status, body, err)
	}
	var a struct{ CloudToDeviceMessageCount *int }
	if err := json.Unmarshal(body, &a); err != nil {
		return 0, err
	}
	if a.CloudToDeviceMessageCount == nil {
		return 0, errors.New("the identity has no cloudToDeviceMessageCount")
	}
	return *a.CloudToDeviceMessageCount, nil
}

// checkQueue compares the length of the queue with what must be in it: every
// accepted command that the device has not acknowledged.
func (d *device) checkQueue(p *process) error {
	have, err := d.queued(p)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	need := 0
	for mid := range d.inbox.accepted {
		if !d.inbox.acked[mid] {
			need++
		}
	}
	if most := d.inbox.tried; have < need || have > most {
		d.l.violate("%s: %d commands are queued; %d accepted ones were not acknowledged by the device, %d were sent at all", d.id, have, need, most)
	}
	return nil
}

// checkReceived says which accepted commands never came, when the queue is
// empty.
func (d *device) checkReceived() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for mid, seq := range d.inbox.accepted {
		if !d.inbox.received[mid] {
			d.l.violate("%s: command %s (sequence number %d) was accepted, is not queued and was never delivered", d.id, mid, seq)
		}
	}
}
