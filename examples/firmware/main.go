// Command firmware is a device that speaks iot/v1 over HTTPS: a thermometer
// with a relay. It is written the way one would write it in C: fixed arrays,
// no goroutines, one loop that never blocks for long, and nothing but the
// standard library. It follows the device handling rules (docs/spec/iot-v1.md
// section 10).
//
//	go run ./examples/firmware -hub https://localhost:8443 -ca nave-data/ca.pem -id cdv_… -secret …
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"math/rand"
	"net/http"
	"os"
	"time"
)

// What to do after a call (DH-11).
const (
	done       = iota // the hub has it
	drop              // it will never be taken: log, forget
	newToken          // get a token, try once more
	localMode         // licence or rights: work on alone, ask every 15 minutes
	newCatalog        // the source may be gone
	split             // too large
	wait              // as long as Retry-After says
	backOff           // growing, random pauses
)

// decide looks at the code; without one, which a proxy or a captive portal has
// sent, at the HTTP status (DH-2, DH-4). An unknown code counts by its first
// digit (RC-6).
func decide(status, code int) int {
	if code == 0 {
		switch status {
		case 200, 201:
			// An answer without code is not the hub's: it has taken nothing.
			return backOff
		case 401, 402, 403, 404, 409, 413, 415, 422, 429:
			code = 4000 + status%100
		default:
			if status < 400 || status >= 500 {
				return backOff
			}
			code = 4000
		}
	}
	switch code {
	case 2000:
		return done
	case 4001:
		return newToken
	case 4002, 4003:
		return localMode
	case 4004:
		return newCatalog
	case 4013:
		return split
	case 4029:
		return wait
	}
	switch code / 1000 {
	case 2:
		return done
	case 4: // 4000, 4009, 4015, 4022
		return drop
	}
	return backOff
}

const (
	queueSize = 64
	probe     = 15 * time.Minute
)

// item is an event that the hub has not got yet. Its body never changes, so
// that each attempt bears the same message_id (DH-7).
type item struct {
	source string
	body   string
}

// board is the whole state of the device.
type board struct {
	hub, id, secret string
	http            *http.Client
	now             func() time.Time
	log             func(format string, args ...any)

	token   string
	renewAt time.Time

	catalog, runtime string // revisions of the catalogue that is held
	sensor, command  string
	stale            bool // the catalogue must be read again

	queue    [queueSize]item // a ring
	first, n int
	boot     int64 // begins message ids: unique per start
	count    int

	backoff backoff       // what the bootstrap says
	pause   time.Duration // of backOff, without its random part
	notTill time.Time     // no call before
	pollAt  time.Time
	highest int64 // sequence number that was handled (DH-8)

	relay string
}

// backoff says how pauses grow, as the bootstrap has it.
type backoff struct {
	initial, maximum   time.Duration
	multiplier, jitter float64
}

func newBoard(hub, id, secret string, client *http.Client) *board {
	return &board{hub: hub, id: id, secret: secret, http: client, now: time.Now, log: func(string, ...any) {},
		backoff: backoff{2 * time.Second, 300 * time.Second, 2, 0.2}, // until the bootstrap is read
		stale:   true, boot: time.Now().UnixMilli(), relay: "0"}
}

// report queues an event with the time at which it was observed (DH-9). When
// the queue is full the oldest one goes.
func (b *board) report(source, value, more string) {
	field := "sensor_id"
	if source == b.command {
		field = "command_id"
	}
	b.count++
	body := fmt.Sprintf(`{"message_id":"%d-%d","%s":"%s","value":"%s","value_received_at":"%s"%s}`,
		b.boot, b.count, field, source, value, b.now().UTC().Format("2006-01-02T15:04:05.000Z"), more)
	if b.n == queueSize {
		b.log("the queue is full, an item is lost")
		b.first, b.n = (b.first+1)%queueSize, b.n-1
	}
	b.queue[(b.first+b.n)%queueSize] = item{source, body}
	b.n++
}

func (b *board) pop() { b.first, b.n = (b.first+1)%queueSize, b.n-1 }

// later sets when the next call may be made.
func (b *board) later(a *answer, action int) {
	switch action {
	case wait:
		b.notTill = b.now().Add(max(a.retryAfter, time.Second))
	case localMode:
		b.notTill = b.now().Add(probe)
	case newToken: // the fresh one was refused, too
		b.notTill = b.now().Add(60 * time.Second)
	default: // also for what a repetition will hardly change
		grown := time.Duration(float64(b.pause) * b.backoff.multiplier)
		b.pause = min(max(grown, b.backoff.initial), b.backoff.maximum)
		jitter := 1 + b.backoff.jitter*(2*rand.Float64()-1)
		b.notTill = b.now().Add(max(a.retryAfter, time.Duration(float64(b.pause)*jitter)))
	}
}

// step makes the calls that are due. It never waits: whoever calls it goes on
// measuring and switching meanwhile (DH-10).
func (b *board) step() {
	if b.now().Before(b.notTill) {
		return
	}
	if b.stale && !b.bootstrap() {
		return
	}
	for b.n > 0 {
		if !b.send() {
			return
		}
	}
	if !b.now().Before(b.pollAt) {
		b.poll()
	}
}

// send posts the oldest item; false: stop for now.
func (b *board) send() bool {
	i := &b.queue[b.first]
	a := b.call("POST", "/feed-data", i.body)
	switch action := decide(a.status, a.code); action {
	case done: // created or idempotent, both mean that the hub has it (DH-3)
		b.pause = 0
		b.pop()
		return true
	case drop, split: // one item cannot be split
		b.log("dropped %s: %d %s", i.body, a.code, a.body)
		b.pop()
		return true
	case newCatalog:
		return b.bootstrap() && b.keepOrDrop(i)
	default:
		b.later(&a, action)
		return false
	}
}

// keepOrDrop looks whether the item's source is still in the catalogue.
func (b *board) keepOrDrop(i *item) bool {
	if i.source != b.sensor && i.source != b.command {
		b.log("dropped %s: its source is gone", i.body)
		b.pop()
	}
	return b.n > 0
}

// poll asks what is wanted, acts and reports.
func (b *board) poll() {
	a := b.call("GET", "/desired-states", "")
	if action := decide(a.status, a.code); action != done {
		b.later(&a, action)
		return
	}
	b.pause = 0
	b.pollAt = b.now().Add(time.Duration(max(1, a.number("poll_after"))) * time.Second)
	for _, d := range a.list("desired_states") {
		b.act(d)
	}
	for b.n > 0 && b.send() {
	}
}

// act switches the relay once per desired state and answers it.
func (b *board) act(d map[string]any) {
	sequence, _ := d["sequence_number"].(float64)
	value, _ := d["value"].(string)
	id, _ := d["desired_id"].(string)
	if d["command_id"] != b.command || int64(sequence) <= b.highest {
		return
	}
	b.highest = int64(sequence)
	status := "applied"
	expires, err := time.Parse(time.RFC3339Nano, fmt.Sprint(d["expires_at"]))
	switch {
	case err == nil && !b.now().Before(expires):
		status = "stale"
	case value != "0" && value != "1" && value != "0.0" && value != "1.0":
		status = "rejected"
	default:
		b.relay = value
	}
	b.report(b.command, b.relay, fmt.Sprintf(`,"desired_id":"%s","report_status":"%s","sequence_number":%d`, id, status, int64(sequence)))
}

func main() {
	hub := flag.String("hub", "https://localhost", "address of the hub")
	id := flag.String("id", "", "client id")
	secret := flag.String("secret", "", "client secret")
	ca := flag.String("ca", "", "PEM file with the CA that signed the hub's certificate")
	flag.Parse()
	conf := &tls.Config{}
	if *ca != "" {
		pem, err := os.ReadFile(*ca)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		conf.RootCAs = x509.NewCertPool()
		conf.RootCAs.AppendCertsFromPEM(pem)
	}
	b := newBoard(*hub, *id, *secret, &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: conf}})
	b.log = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	measured := time.Time{}
	for {
		if b.sensor != "" && b.now().Sub(measured) >= 10*time.Second {
			measured = b.now()
			b.report(b.sensor, fmt.Sprintf("%.1f", 20+3*rand.Float64()), "")
		}
		b.step()
		time.Sleep(100 * time.Millisecond)
	}
}
