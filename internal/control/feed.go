package control

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// Outcomes of an accepted item (iot-v1 5.4).
const (
	Created    = "created"
	Idempotent = "idempotent"
)

// Result is what became of an accepted item.
type Result struct {
	Status   string // Created or Idempotent
	FeedID   int64
	Message  string
	Warnings []byte // JSON array
}

// Outcome is what became of one entry of a batch: a result or an error.
type Outcome struct {
	Message *string
	Result  *Result
	Err     error
}

// job is an item on its way into the store.
type job struct {
	item     *Item
	source   *nave.ControlSource
	at       string // JSON pointer of the item
	row      *nave.ControlFeedRow
	warnings []Warning
	created  bool
	result   *Result
	err      error
}

// Feed accepts one item that came by the transport (steps 16 to 19 of iot-v1
// G-15) and returns when it is durable. Answers: 4004, 4009, 4022, 5003, and
// what the gate says.
func (d *Device) Feed(ctx context.Context, i *Item, transport string) (*Result, error) {
	j := &job{item: i}
	if err := d.feed(ctx, []*job{j}, transport); err != nil {
		return nil, err
	}
	return j.result, j.err
}

// FeedBatch accepts the items of a batch in their order, each as if it came
// alone (iot-v1 6). The answer is an error only when nothing could be stored;
// otherwise there is an outcome for each entry.
func (d *Device) FeedBatch(ctx context.Context, entries []Entry, transport string) ([]Outcome, error) {
	out := make([]Outcome, len(entries))
	var jobs []*job
	of := make([]*job, len(entries))
	for n, e := range entries {
		out[n] = Outcome{Message: e.Message, Err: e.Err}
		if e.Err == nil {
			of[n] = &job{item: e.Item, at: "/items/" + itoa(n)}
			jobs = append(jobs, of[n])
		}
	}
	if err := d.feed(ctx, jobs, transport); err != nil {
		return nil, err
	}
	for n, j := range of {
		if j != nil {
			out[n].Result, out[n].Err = j.result, j.err
		}
	}
	return out, nil
}

// feed runs the jobs; an error means that nothing was stored because something
// that all need is away.
func (d *Device) feed(ctx context.Context, jobs []*job, transport string) error {
	c := d.c
	if c.stopping() {
		return c.shutting()
	}
	live, broken := d.admit(ctx, jobs)
	if len(live) == 0 {
		return broken
	}
	s, err := c.ledger.take(ctx, len(live))
	if err != nil {
		return c.away(err)
	}
	now := c.Now().Truncate(stored) // the event says what the store would say of it later
	err = c.db.Update(ctx, func(tx *store.Tx) error { return d.accept(tx, live, transport, s.low, now) })
	if err != nil {
		c.ledger.finish(s)
		return c.away(err)
	}
	d.log(live, s)
	return nil
}

// admit takes the jobs through the gate and step 16. Those that may go on are
// live; broken is set when a failure of the hub struck, which all later jobs
// share.
func (d *Device) admit(ctx context.Context, jobs []*job) (live []*job, broken error) {
	for _, j := range jobs {
		if broken != nil {
			j.err = broken
			continue
		}
		err := d.enter(ctx, &opFeed, len(j.item.Value))
		if err != nil && fault.From(err).Code.HTTP >= 500 {
			broken, j.err = err, err
			continue
		}
		if err == nil {
			j.source, err = d.Source(j.item.Source, j.item.Command)
		}
		if j.err = err; err == nil {
			live = append(live, j)
		}
	}
	return live, broken
}

// log hands the created items to the hub's event log, in the order of commits
// of this device. It does not await the log's sync: the commit has made the
// items owed to it. It may block while the log is behind.
func (d *Device) log(live []*job, s *span) {
	var events []*nave.Event
	for _, j := range live {
		if j.created {
			events = append(events, event(d.ID, j.source.ID, j.row))
		}
	}
	c := d.c
	if events == nil {
		c.ledger.finish(s)
		return
	}
	c.hub.Record(events, func(err error) {
		if err != nil {
			c.o.Log.Warn("the event log refuses items of iot/v1, they are stored and will follow", "hub", c.hub.Host(), "device", d.ID, "err", err)
			c.ledger.owe(s, events)
			return
		}
		c.ledger.finish(s)
	})
}

// accept writes the jobs in their order; ids start at id. It may run more than
// once.
func (d *Device) accept(tx *store.Tx, jobs []*job, transport string, id int64, now time.Time) error {
	var plain []*job
	for n, j := range jobs {
		i := j.item
		j.warnings, j.created, j.result, j.err = nil, false, nil, nil
		j.row = &nave.ControlFeedRow{ID: id + int64(n), Source: j.source.No, Message: i.Message, Value: i.Value, Observed: i.Observed,
			Received: now, Desired: i.Desired, Report: i.Report, Sequence: i.Sequence, Via: transport, Digest: i.digest()}
		if i.Desired == "" && !j.source.Adopt && !j.notNumeric() {
			plain = append(plain, j)
			continue
		}
		if err := d.acceptPlain(tx, plain, now); err != nil {
			return err
		}
		plain = nil
		if err := d.acceptReport(tx, j, now); err != nil {
			return err
		}
	}
	return d.acceptPlain(tx, plain, now)
}

// notNumeric says whether the value is no number although it must be one (step
// 18).
func (j *job) notNumeric() bool { return j.source.Numeric() && !nave.IsNumber(j.item.Value) }

// acceptPlain writes items that concern no desired state, with few statements.
func (d *Device) acceptPlain(tx *store.Tx, jobs []*job, now time.Time) error {
	jobs, states, err := readStates(tx, jobs)
	if err != nil || len(jobs) == 0 {
		return err
	}
	again, err := takeKeys(tx, jobs)
	if err != nil {
		return err
	}
	var rows []*nave.ControlFeedRow
	changed := map[int64]bool{}
	for _, j := range jobs {
		if !j.created {
			continue
		}
		j.warnItem(now)
		if j.report(states[j.row.Source]) {
			changed[j.row.Source] = true
		}
		j.row.Warnings = j.text()
		rows = append(rows, j.row)
		j.settle(Created, j.row.ID, j.row.Warnings)
	}
	if err := tx.InsertControlFeed(rows); err != nil {
		return err
	}
	for _, source := range sortedKeys(changed) {
		if err := tx.PutControlState(states[source]); err != nil {
			return err
		}
	}
	for _, j := range again {
		if err := j.repeat(tx); err != nil {
			return err
		}
	}
	return nil
}

// readStates reads the states of the jobs' sources. A source that has gone
// since the snapshot answers 4004.
func readStates(tx *store.Tx, jobs []*job) (left []*job, states map[int64]*nave.ControlState, err error) {
	if len(jobs) == 0 {
		return nil, nil, nil
	}
	states = map[int64]*nave.ControlState{}
	for _, j := range jobs {
		states[j.row.Source] = nil
	}
	// In one order, so that two nodes do not wait for each other.
	for _, source := range sortedKeys(states) {
		s, err := tx.ControlState(source)
		if errors.Is(err, store.ErrNone) {
			delete(states, source)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		states[source] = s
	}
	for _, j := range jobs {
		if states[j.row.Source] == nil {
			j.gone()
			continue
		}
		left = append(left, j)
	}
	return left, states, nil
}

func (j *job) gone() {
	if j.source.IsCommand() {
		j.err = NoResource("command", "this device has no such command")
		return
	}
	j.err = NoResource("sensor", "this device has no such sensor")
}

// takeKeys marks the jobs created whose keys were free and returns the others.
func takeKeys(tx *store.Tx, jobs []*job) (again []*job, err error) {
	rows := make([]*nave.ControlFeedRow, len(jobs))
	for n, j := range jobs {
		rows[n] = j.row
	}
	n, err := tx.InsertControlKeys(rows)
	if err != nil {
		return nil, err
	}
	if int(n) == len(jobs) {
		for _, j := range jobs {
			j.created = true
		}
		return nil, nil
	}
	for _, j := range jobs {
		feed, _, err := tx.ControlKey(j.row.Source, j.row.Message)
		if err != nil {
			return nil, err
		}
		if j.created = feed == j.row.ID; !j.created {
			again = append(again, j)
		}
	}
	return again, nil
}

// report makes the item the reported state unless a later one is known (iot-v1
// FD-20).
func (j *job) report(s *nave.ControlState) bool {
	if s.Feed != 0 && j.row.Observed.Truncate(stored).Before(s.Observed) {
		j.warn(OlderThanLatest, nil)
		return false
	}
	s.Feed, s.Value, s.Observed, s.Received = j.row.ID, j.row.Value, j.row.Observed.Truncate(stored), j.row.Received
	return true
}

func (j *job) settle(status string, feed int64, warnings string) {
	if warnings == "" {
		warnings = "[]"
	}
	j.result = &Result{Status: status, FeedID: feed, Message: j.item.Message, Warnings: []byte(warnings)}
}

// repeat answers an item whose key is taken: with the stored result when the
// payload is the same, with 4009 when it is not (iot-v1 FD-11, FD-12).
func (j *job) repeat(tx *store.Tx) error {
	feed, digest, err := tx.ControlKey(j.row.Source, j.row.Message)
	if err != nil {
		return err
	}
	if !bytes.Equal(digest, j.row.Digest) {
		e := refuse(fault.ControlConflict, "message_conflict", "this message_id was already used for a different payload")
		e.Detail["message_id"], e.Detail["feed_data_id"] = j.row.Message, feed
		j.err = e
		return nil
	}
	stored, err := tx.ControlFeed(j.row.Source, feed)
	if err != nil {
		return err
	}
	j.settle(Idempotent, feed, stored.Warnings)
	return nil
}

func sortedKeys[V any](m map[int64]V) []int64 {
	keys := make([]int64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
