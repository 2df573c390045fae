package store

import (
	"database/sql"
	"errors"
	"time"
)

// SIMMonitor is an asynchronous change. Phase says what is to be done at Due;
// Doc holds request and response.
type SIMMonitor struct {
	ID, Product, Source, Account string
	State, Phase, Ticket         string
	Due, Created, Ended          time.Time
	Task                         string // whose item Position it is, "" for none
	Position                     int
	Doc                          string
}

const monitorColumns = `id, product, source, account, state, phase, ticket, due, created, ended, task, position, doc`

const selectMonitor = `SELECT ` + monitorColumns + ` FROM sim_monitor WHERE hub = ? AND `

func scanMonitor(rows *sql.Rows) (*SIMMonitor, error) {
	var m SIMMonitor
	var due, created, ended int64
	err := rows.Scan(&m.ID, &m.Product, &m.Source, &m.Account, &m.State, &m.Phase, &m.Ticket, &due, &created, &ended, &m.Task, &m.Position, &m.Doc)
	m.Due, m.Created, m.Ended = moment(due), moment(created), moment(ended)
	return &m, err
}

// InsertSIMMonitor adds a monitor; ErrExists.
func (t *Tx) InsertSIMMonitor(m *SIMMonitor) error {
	n, err := t.exec(`INSERT INTO sim_monitor (hub, `+monitorColumns+`, lease, node) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '') ON CONFLICT DO NOTHING`,
		t.db.hub, m.ID, m.Product, m.Source, m.Account, m.State, m.Phase, m.Ticket, ticks(m.Due), ticks(m.Created), ticks(m.Ended), m.Task, m.Position, m.Doc)
	if err == nil && n == 0 {
		err = ErrExists
	}
	return err
}

// PutSIMMonitor replaces state, phase, ticket, due, end and document and ends
// the lease; ErrNone.
func (t *Tx) PutSIMMonitor(m *SIMMonitor) error {
	return t.must(`UPDATE sim_monitor SET state = ?, phase = ?, ticket = ?, due = ?, ended = ?, doc = ?, lease = 0 WHERE hub = ? AND id = ?`,
		m.State, m.Phase, m.Ticket, ticks(m.Due), ticks(m.Ended), m.Doc, t.db.hub, m.ID)
}

// SIMMonitor returns the monitor, or ErrNone. In an Update the row stays
// locked.
func (t *Tx) SIMMonitor(id string) (*SIMMonitor, error) {
	return first(list(t, scanMonitor, selectMonitor+`id = ? FOR NO KEY UPDATE`, t.db.hub, id))
}

// SIMMonitors returns a page of monitors, the newest first, and how many there
// are; state and source may be "" for all.
func (t *Tx) SIMMonitors(state, source string, offset, limit int) (all []*SIMMonitor, total int, err error) {
	where, args := `TRUE`, []any{t.db.hub}
	if source != "" {
		where, args = `source = ?`, append(args, source)
	}
	if state != "" {
		where, args = where+` AND state = ?`, append(args, state)
	}
	if err := t.one(`SELECT COUNT(*) FROM sim_monitor WHERE hub = ? AND `+where, args, &total); err != nil {
		return nil, 0, err
	}
	all, err = list(t, scanMonitor, selectMonitor+where+` ORDER BY created DESC, id DESC LIMIT ? OFFSET ?`, append(args, limit, offset)...)
	return all, total, err
}

// LeaseSIMMonitors returns up to limit monitors that are due, of phase apply
// when local and of the others when not. The node keeps them from others until
// a time; the zero time: as long as the transaction lasts.
func (t *Tx) LeaseSIMMonitors(local bool, node string, now, until time.Time, limit int) ([]*SIMMonitor, error) {
	phase := `phase <> 'apply'`
	if local {
		phase = `phase = 'apply'`
	}
	all, err := list(t, scanMonitor, selectMonitor+phase+` AND state = 'InProgress' AND due <= ? AND lease <= ? ORDER BY due LIMIT ? FOR NO KEY UPDATE SKIP LOCKED`,
		t.db.hub, ticks(now), ticks(now), limit)
	for _, m := range all {
		if err == nil && !until.IsZero() {
			err = t.must(`UPDATE sim_monitor SET lease = ?, node = ? WHERE hub = ? AND id = ?`, ticks(until), node, t.db.hub, m.ID)
		}
	}
	return all, err
}

// DueSIMMonitor returns when the next monitor is due, the zero time for none.
func (t *Tx) DueSIMMonitor() (time.Time, error) {
	var due sql.NullInt64
	err := t.one(`SELECT MIN(due) FROM sim_monitor WHERE hub = ? AND state = 'InProgress'`, []any{t.db.hub}, &due)
	return moment(due.Int64), err
}

// SIMTask is a bulk change; Doc holds what was asked for.
type SIMTask struct {
	ID, State      string
	Created, Ended time.Time
	Doc            string
}

func scanTask(rows *sql.Rows) (*SIMTask, error) {
	var k SIMTask
	var created, ended int64
	err := rows.Scan(&k.ID, &k.State, &created, &ended, &k.Doc)
	k.Created, k.Ended = moment(created), moment(ended)
	return &k, err
}

const selectTask = `SELECT id, state, created, ended, doc FROM sim_task WHERE hub = ? AND `

// SIMTaskItem is one product of a bulk change. State is waiting (for
// the hub), remote (waiting for a remote platform), inProgress (its monitor is
// under way), done, failed or cancelled.
type SIMTaskItem struct {
	Task     string
	Position int
	Given    string // the iccid that was given
	Product  string // "": unknown
	Account  string
	State    string
	Code     int
	Status   string
	Monitor  string
	Problem  string // JSON
	Due      time.Time
	Sent     bool // the platform may have been asked
}

const itemColumns = `task, position, given, product, account, state, code, status, monitor, problem, due, sent`

const selectItem = `SELECT ` + itemColumns + ` FROM sim_task_item WHERE hub = ? AND `

func scanItem(rows *sql.Rows) (*SIMTaskItem, error) {
	var i SIMTaskItem
	var sent int
	var due int64
	err := rows.Scan(&i.Task, &i.Position, &i.Given, &i.Product, &i.Account, &i.State, &i.Code, &i.Status, &i.Monitor, &i.Problem, &due, &sent)
	i.Due, i.Sent = moment(due), sent == 1
	return &i, err
}

// InsertSIMTask adds a task with its items, which the node keeps from others
// until a time; ErrExists.
func (t *Tx) InsertSIMTask(k *SIMTask, items []*SIMTaskItem, node string, until time.Time) error {
	n, err := t.exec(`INSERT INTO sim_task (hub, id, state, created, ended, doc) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		t.db.hub, k.ID, k.State, ticks(k.Created), ticks(k.Ended), k.Doc)
	if err == nil && n == 0 {
		err = ErrExists
	}
	for _, i := range items {
		if err == nil {
			_, err = t.exec(`INSERT INTO sim_task_item (hub, `+itemColumns+`, lease, node) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, t.db.hub,
				i.Task, i.Position, i.Given, i.Product, i.Account, i.State, i.Code, i.Status, i.Monitor, i.Problem, ticks(i.Due), bit(i.Sent), ticks(until), node)
		}
	}
	return err
}

// SIMTask returns the task, or ErrNone. In an Update the row stays locked.
func (t *Tx) SIMTask(id string) (*SIMTask, error) {
	return first(list(t, scanTask, selectTask+`id = ? FOR NO KEY UPDATE`, t.db.hub, id))
}

// SIMTasks returns a page of tasks, the newest first, and how many there are.
func (t *Tx) SIMTasks(offset, limit int) (all []*SIMTask, total int, err error) {
	if err := t.one(`SELECT COUNT(*) FROM sim_task WHERE hub = ?`, []any{t.db.hub}, &total); err != nil {
		return nil, 0, err
	}
	all, err = list(t, scanTask, selectTask+`TRUE ORDER BY created DESC, id DESC LIMIT ? OFFSET ?`, t.db.hub, limit, offset)
	return all, total, err
}

// OpenSIMTasks returns the tasks in progress, in the order of ids.
func (t *Tx) OpenSIMTasks() ([]*SIMTask, error) {
	return list(t, scanTask, selectTask+`state = 'inProgress' ORDER BY id`, t.db.hub)
}

// EndSIMTask writes how a task ended; ErrNone when it has ended.
func (t *Tx) EndSIMTask(id, state string, at time.Time) error {
	return t.must(`UPDATE sim_task SET state = ?, ended = ? WHERE hub = ? AND id = ? AND state = 'inProgress'`, state, ticks(at), t.db.hub, id)
}

// SIMTaskItems returns the items of a task in order.
func (t *Tx) SIMTaskItems(task string) ([]*SIMTaskItem, error) {
	return list(t, scanItem, selectItem+`task = ? ORDER BY position`, t.db.hub, task)
}

// SIMTaskCounts returns how many items of the task are in each state.
func (t *Tx) SIMTaskCounts(task string) (map[string]int, error) {
	counts := map[string]int{}
	_, err := list(t, func(rows *sql.Rows) (struct{}, error) {
		var state string
		var n int
		err := rows.Scan(&state, &n)
		counts[state] = n
		return struct{}{}, err
	}, `SELECT state, COUNT(*) FROM sim_task_item WHERE hub = ? AND task = ? GROUP BY state`, t.db.hub, task)
	return counts, err
}

// LeaseSIMTaskItems returns up to limit items of the task that wait, for the hub
// when local, and are due; in order. The node keeps them from others until a
// time; the zero time: as long as the transaction lasts.
func (t *Tx) LeaseSIMTaskItems(task string, local bool, node string, now, until time.Time, limit int) ([]*SIMTaskItem, error) {
	state := `state = 'remote'`
	if local {
		state = `state = 'waiting'`
	}
	all, err := list(t, scanItem, selectItem+`task = ? AND `+state+` AND due <= ? AND lease <= ? ORDER BY position LIMIT ? FOR NO KEY UPDATE SKIP LOCKED`,
		t.db.hub, task, ticks(now), ticks(now), limit)
	for _, i := range all {
		if err == nil && !until.IsZero() {
			err = t.must(`UPDATE sim_task_item SET lease = ?, node = ? WHERE hub = ? AND task = ? AND position = ?`, ticks(until), node, t.db.hub, task, i.Position)
		}
	}
	return all, err
}

// CancelSIMTask ends the items of the task that nobody has started, and returns
// how many there were.
func (t *Tx) CancelSIMTask(task string, code int) (int64, error) {
	return t.exec(`UPDATE sim_task_item SET state = 'cancelled', code = ? WHERE hub = ? AND task = ? AND sent = 0 AND state IN ('waiting', 'remote')`,
		code, t.db.hub, task)
}

// SIMTaskItem returns the item, or ErrNone. In an Update the row stays locked.
func (t *Tx) SIMTaskItem(task string, position int) (*SIMTaskItem, error) {
	return first(list(t, scanItem, selectItem+`task = ? AND position = ? FOR NO KEY UPDATE`, t.db.hub, task, position))
}

// PutSIMTaskItem replaces state, code, status, monitor, problem, due and sent
// of an item and ends its lease unless keep; ErrNone.
func (t *Tx) PutSIMTaskItem(i *SIMTaskItem, keep bool) error {
	if err := t.must(`UPDATE sim_task_item SET state = ?, code = ?, status = ?, monitor = ?, problem = ?, due = ?, sent = ? WHERE hub = ? AND task = ? AND position = ?`,
		i.State, i.Code, i.Status, i.Monitor, i.Problem, ticks(i.Due), bit(i.Sent), t.db.hub, i.Task, i.Position); err != nil || keep {
		return err
	}
	return t.must(`UPDATE sim_task_item SET lease = 0 WHERE hub = ? AND task = ? AND position = ?`, t.db.hub, i.Task, i.Position)
}

// ForgetSIMWork removes monitors and tasks that ended before a time.
func (t *Tx) ForgetSIMWork(before time.Time) error {
	if _, err := t.exec(`DELETE FROM sim_monitor WHERE hub = ? AND ended > 0 AND ended < ?`, t.db.hub, ticks(before)); err != nil {
		return err
	}
	_, err := t.exec(`DELETE FROM sim_task WHERE hub = ? AND ended > 0 AND ended < ?`, t.db.hub, ticks(before))
	return err
}

// SIMEvent is an event that the event log may not have.
type SIMEvent struct {
	No         int64
	ID, Device string
	At         time.Time
	Doc        string
}

// AddSIMEvent keeps an event until DropSIMEvents and sets its number.
func (t *Tx) AddSIMEvent(e *SIMEvent) error {
	return t.one(`INSERT INTO sim_event (hub, id, at, device, doc, lease, node) VALUES (?, ?, ?, ?, ?, 0, '') RETURNING no`,
		[]any{t.db.hub, e.ID, ticks(e.At), e.Device, e.Doc}, &e.No)
}

// LeaseSIMEvents returns up to limit events, the oldest first; the node keeps
// them from others until a time.
func (t *Tx) LeaseSIMEvents(node string, now, until time.Time, limit int) ([]*SIMEvent, error) {
	all, err := list(t, func(rows *sql.Rows) (*SIMEvent, error) {
		var e SIMEvent
		var at int64
		err := rows.Scan(&e.No, &e.ID, &at, &e.Device, &e.Doc)
		e.At = moment(at)
		return &e, err
	}, `SELECT no, id, at, device, doc FROM sim_event WHERE hub = ? AND lease <= ? ORDER BY no LIMIT ? FOR NO KEY UPDATE SKIP LOCKED`, t.db.hub, ticks(now), limit)
	if err != nil {
		return nil, err
	}
	numbers := make([]int64, len(all))
	for i, e := range all {
		numbers[i] = e.No
	}
	return all, handfuls(numbers, func(args []any) error {
		_, err := t.exec(`UPDATE sim_event SET lease = ?, node = ? WHERE no IN (`+handfulOf+`)`, append([]any{ticks(until), node}, args...)...)
		return err
	})
}

// DropSIMEvents removes events that the event log has.
func (t *Tx) DropSIMEvents(numbers []int64) error {
	return handfuls(numbers, func(args []any) error {
		_, err := t.exec(`DELETE FROM sim_event WHERE no IN (`+handfulOf+`)`, args...)
		return err
	})
}

// SIMEventsWait says whether there are events that nobody has leased.
func (t *Tx) SIMEventsWait(now time.Time) (bool, error) {
	all, err := list(t, scanText, `SELECT id FROM sim_event WHERE hub = ? AND lease <= ? LIMIT 1`, t.db.hub, ticks(now))
	return len(all) > 0, err
}

// PutSIMMonitorPhase changes the phase of a monitor and keeps its lease;
// ErrNone.
func (t *Tx) PutSIMMonitorPhase(id, phase string) error {
	return t.must(`UPDATE sim_monitor SET phase = ? WHERE hub = ? AND id = ?`, phase, t.db.hub, id)
}

// FreeSIMWork ends everything that the node keeps from others; the node has
// just started.
func (t *Tx) FreeSIMWork(node string) error {
	for _, q := range []string{`UPDATE sim_monitor SET lease = 0, node = '' WHERE hub = ? AND state = 'InProgress' AND node = ?`,
		`UPDATE sim_task_item SET lease = 0, node = '' WHERE hub = ? AND state = 'waiting' AND node = ?`,
		`UPDATE sim_task_item SET lease = 0, node = '' WHERE hub = ? AND state = 'remote' AND node = ?`,
		`UPDATE sim_event SET lease = 0, node = '' WHERE hub = ? AND node = ?`} {
		if _, err := t.exec(q, t.db.hub, node); err != nil {
			return err
		}
	}
	return nil
}

// RemoteSIMTaskItems returns how many items of the task wait for a remote
// platform, are due and are kept by nobody.
func (t *Tx) RemoteSIMTaskItems(task string, now time.Time) (n int, err error) {
	err = t.one(`SELECT COUNT(*) FROM sim_task_item WHERE hub = ? AND task = ? AND state = 'remote' AND due <= ? AND lease <= ?`,
		[]any{t.db.hub, task, ticks(now), ticks(now)}, &n)
	return n, err
}

// RenewSIMTaskItem prolongs what the node keeps; ErrStale when it keeps the item
// no more.
func (t *Tx) RenewSIMTaskItem(i *SIMTaskItem, node string, now, until time.Time) error {
	return stale(t.must(`UPDATE sim_task_item SET lease = ? WHERE hub = ? AND task = ? AND position = ? AND node = ? AND lease > ? AND state = 'remote'`,
		ticks(until), t.db.hub, i.Task, i.Position, node, ticks(now)))
}

// RenewSIMMonitor prolongs what the node keeps; ErrStale when it keeps the
// monitor no more.
func (t *Tx) RenewSIMMonitor(id, node string, now, until time.Time) error {
	return stale(t.must(`UPDATE sim_monitor SET lease = ? WHERE hub = ? AND id = ? AND node = ? AND lease > ? AND state = 'InProgress'`,
		ticks(until), t.db.hub, id, node, ticks(now)))
}

func stale(err error) error {
	if errors.Is(err, ErrNone) {
		return ErrStale
	}
	return err
}
