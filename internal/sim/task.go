package sim

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// States of task items in the store besides those that the API shows.
const (
	itemWaiting = "waiting" // for the hub
	itemRemote  = "remote"  // for a remote platform
)

// TaskCancelled is the state of a task item that CancelTask ended before it was
// started; it counts as failed, with status code 409.
const TaskCancelled = "cancelled"

// taskDoc is what the store keeps of a task besides its columns.
type taskDoc struct {
	Status Status `json:"status"`
	Reason string `json:"reason"`
	Actor  Actor  `json:"actor"`
	Path   string `json:"path"`
	Trace  string `json:"trace"`
}

func (d *taskDoc) cause() cause { return cause{d.Actor, d.Reason, d.Trace} }

// StartTask starts a bulk change (BK-3 to BK-9) and returns it: finished when
// every item had a synchronous result, in progress otherwise. A task with
// r.ID that exists is returned as it is, so a start can be repeated.
func (a *Access) StartTask(ctx context.Context, r TaskRequest) (*Task, error) {
	t := a.t
	if err := a.enter(ctx, "", &opBulk, len(r.Products)+len(r.ICCIDs)); err != nil {
		return nil, err
	}
	if n := len(r.Products) + len(r.ICCIDs); n == 0 || n > t.o.MaxTask {
		issue := Issue{In: "body", Pointer: "/productId", Code: "required", Detail: "At least one product must be named."}
		if n > 0 {
			issue.Code, issue.Detail = "too_many", "Too many products for one task."
		}
		return nil, invalid([]Issue{issue})
	}
	if err := CheckStatus(r.Status); err != nil {
		return nil, err
	}
	if r.ID == "" {
		r.ID = newUUID()
	}
	d := taskDoc{r.Status, r.Reason, a.actor, r.Origin.Path, r.Origin.Correlation}
	doc, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	items, err := t.resolve(ctx, &r)
	if err != nil {
		return nil, known(err, fault.SIMTaskNotFound, "")
	}
	now := t.Now()
	later := r.Async || len(items) > t.o.SyncTask
	lease := time.Time{}
	if !later {
		lease = now.Add(leaseFor) // the caller's, until FreeSIMWork after a crash
	}
	err = t.db.Update(ctx, func(tx *store.Tx) error {
		return tx.InsertSIMTask(&store.SIMTask{ID: r.ID, State: TaskInProgress, Created: now, Doc: string(doc)}, items, t.bus.Node(), lease)
	})
	switch {
	case errors.Is(err, store.ErrExists):
	case err != nil:
		return nil, known(err, fault.SIMTaskNotFound, "")
	case later:
		t.local.poke()
		t.remote.poke()
		t.tell(note{Work: true})
	default:
		if err := t.workItems(ctx, r.ID, &d, items); err != nil {
			return nil, known(err, fault.SIMTaskNotFound, "")
		}
	}
	return t.task(ctx, r.ID)
}

// resolve finds the products that a task names, each once (BK-4).
func (t *Tenant) resolve(ctx context.Context, r *TaskRequest) (items []*store.SIMTaskItem, err error) {
	seen := map[string]bool{}
	err = t.db.View(ctx, func(tx *store.Tx) error {
		for _, list := range []struct {
			key    string
			values []string
		}{{"id", r.Products}, {"iccid", r.ICCIDs}} {
			for _, v := range list.values {
				id, suffix := v, ""
				if list.key == "id" {
					id, suffix = SplitID(v)
				}
				rows, err := tx.SIMsBy(list.key, id)
				if err != nil {
					return err
				}
				rows = slices.DeleteFunc(rows, func(s *store.SIM) bool { return suffix != "" && suffix != cardOf(s) })
				if len(rows) == 0 {
					if !seen[list.key+" "+v] {
						seen[list.key+" "+v] = true
						items = append(items, t.unknownItem(r, list.key, v, len(items)))
					}
					continue
				}
				for _, s := range rows {
					if seen[s.ID] {
						continue
					}
					seen[s.ID] = true
					item := &store.SIMTaskItem{Task: r.ID, Position: len(items), Product: s.ID, Account: s.Account, State: itemWaiting, Code: 202}
					if acct := t.account(s.Account); acct != nil && !acct.embedded() {
						item.State = itemRemote
					}
					items = append(items, item)
				}
			}
		}
		return nil
	})
	return items, err
}

func (t *Tenant) unknownItem(r *TaskRequest, key, value string, position int) *store.SIMTaskItem {
	i := &store.SIMTaskItem{Task: r.ID, Position: position, State: TaskFailed, Code: 404}
	err := fault.SIMProductNotFound.New("No product with %s %s.", key, value)
	if key == "iccid" {
		i.Given = value
	} else {
		i.Product = value
		err.Detail = map[string]any{DetailProduct: value}
	}
	i.Problem = t.problemText(err, r.Origin.Path, r.Origin.Correlation)
	return i
}

func (t *Tenant) problemText(err error, path, trace string) string {
	b, _ := json.Marshal(NewProblem(err, t.Now(), path, trace)) // plain values of ours
	return string(b)
}

const taskBatch = 100

// workTasks works on the items of all open tasks: those of the reference
// platform when local, else those of remote platforms.
func (t *Tenant) workTasks(ctx context.Context, local bool) error {
	var tasks []*store.SIMTask
	if err := t.db.View(ctx, func(tx *store.Tx) (err error) { tasks, err = tx.OpenSIMTasks(); return err }); err != nil {
		return err
	}
	for _, k := range tasks {
		var d taskDoc
		if err := json.Unmarshal([]byte(k.Doc), &d); err != nil {
			return err
		}
		for n := taskBatch; n == taskBatch && ctx.Err() == nil; {
			var err error
			if local {
				n, err = t.workOwnItems(ctx, k.ID, &d, nil)
			} else {
				n, err = t.workRemoteItems(ctx, k.ID, &d)
			}
			if err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// workItems works on all items of a task that was made for the caller.
func (t *Tenant) workItems(ctx context.Context, task string, d *taskDoc, items []*store.SIMTaskItem) error {
	own := []*store.SIMTaskItem{}
	for _, i := range items {
		if i.State == itemWaiting {
			own = append(own, i)
		}
	}
	_, err := t.workOwnItems(ctx, task, d, own)
	if err != nil {
		return err
	}
	t.callItems(ctx, d, items)
	return t.db.Update(ctx, func(tx *store.Tx) error { return t.endTask(tx, task) })
}

// workOwnItems makes the changes of the items, or of some that wait when items
// is nil, in one transaction, and returns how many they were. It ends the task
// when nothing is left of it.
func (t *Tenant) workOwnItems(ctx context.Context, task string, d *taskDoc, items []*store.SIMTaskItem) (n int, err error) {
	var monitors []*store.SIMMonitor
	err = t.db.Update(ctx, func(tx *store.Tx) (err error) {
		monitors = nil
		some := items
		if some == nil {
			if some, err = tx.LeaseSIMTaskItems(task, true, "", t.Now(), time.Time{}, taskBatch); err != nil {
				return err
			}
		}
		n = len(some)
		for _, i := range some {
			m, err := t.workOwnItem(tx, d, i)
			if err != nil {
				return err
			}
			if m != nil {
				monitors = append(monitors, m)
			}
		}
		if n == taskBatch {
			return nil
		}
		return t.endTask(tx, task)
	})
	for _, m := range monitors {
		if a := t.account(m.Account); a != nil && err == nil {
			t.started(a, m)
		}
	}
	return n, err
}

// workRemoteItems leases some items of remote platforms, works on them and
// returns how many they were.
func (t *Tenant) workRemoteItems(ctx context.Context, task string, d *taskDoc) (n int, err error) {
	var items []*store.SIMTaskItem
	err = t.db.View(ctx, func(tx *store.Tx) error { n, err = tx.RemoteSIMTaskItems(task, t.Now()); return err })
	if err != nil || n == 0 {
		return 0, err
	}
	err = t.db.Update(ctx, func(tx *store.Tx) (err error) {
		items, err = tx.LeaseSIMTaskItems(task, false, t.bus.Node(), t.Now(), t.Now().Add(leaseFor), taskBatch)
		return err
	})
	if err != nil {
		return 0, err
	}
	t.callItems(ctx, d, items)
	return len(items), t.db.Update(ctx, func(tx *store.Tx) error { return t.endTask(tx, task) })
}

// callItems works on the items of remote platforms side by side.
func (t *Tenant) callItems(ctx context.Context, d *taskDoc, items []*store.SIMTaskItem) {
	var calls sync.WaitGroup
	for _, i := range items {
		if i.State != itemRemote {
			continue
		}
		calls.Go(func() {
			if err := t.workRemoteItem(ctx, d, i); err != nil && ctx.Err() == nil {
				t.o.Log.Warn("an item of a task could not be worked on", "tenant", t.name, "task", i.Task, "item", i.Position, "err", err)
			}
		})
	}
	calls.Wait()
}

// workOwnItem makes the change of an item and writes its result, in the
// caller's transaction. An item that is no longer waiting stays as it is.
func (t *Tenant) workOwnItem(tx *store.Tx, d *taskDoc, item *store.SIMTaskItem) (*store.SIMMonitor, error) {
	i, err := tx.SIMTaskItem(item.Task, item.Position)
	if errors.Is(err, store.ErrNone) || err == nil && i.State != itemWaiting {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a := t.account(i.Account)
	if a == nil {
		return nil, t.itemFailed(tx, i, d, fault.SIMProductNotFound.New("No product with id %s.", i.Product))
	}
	w := wish{product: i.Product, to: d.Status, cause: d.cause(), origin: Origin{Method: "POST", Path: d.Path},
		task: i.Task, position: i.Position}
	m, err := t.changeOwn(tx, a, &w)
	switch {
	case errors.Is(err, store.ErrNone):
		return nil, t.itemFailed(tx, i, d, fault.SIMProductNotFound.New("No product with id %s.", i.Product))
	case err != nil && !coded(err):
		return nil, err
	case err != nil:
		return nil, t.itemFailed(tx, i, d, err)
	case m != nil:
		i.State, i.Monitor, i.Code = TaskInProgress, m.ID, 202
		return m, tx.PutSIMTaskItem(i, false)
	}
	return nil, t.itemDone(tx, i)
}

func (t *Tenant) itemDone(tx *store.Tx, i *store.SIMTaskItem) error {
	s, err := tx.SIM(i.Product)
	if err != nil && !errors.Is(err, store.ErrNone) {
		return err
	}
	if err == nil {
		i.Status = s.Status
	}
	i.State, i.Code = TaskDone, 200
	return tx.PutSIMTaskItem(i, false)
}

func (t *Tenant) itemFailed(tx *store.Tx, i *store.SIMTaskItem, d *taskDoc, failure error) error {
	s, err := tx.SIM(i.Product)
	if err != nil && !errors.Is(err, store.ErrNone) {
		return err
	}
	if err == nil {
		i.Status = s.Status
	}
	p := NewProblem(failure, t.Now(), d.Path, d.Trace)
	p.ProductID = i.Product
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	i.State, i.Code, i.Problem = TaskFailed, p.Status, string(text)
	return tx.PutSIMTaskItem(i, false)
}

// finishItem ends the item that a monitor belongs to, and the task with the
// last of its items.
func (t *Tenant) finishItem(tx *store.Tx, m *store.SIMMonitor, s *store.SIM, outcome error) error {
	i, err := tx.SIMTaskItem(m.Task, m.Position)
	if errors.Is(err, store.ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	k, err := tx.SIMTask(m.Task)
	if err != nil {
		return err
	}
	var d taskDoc
	if err := json.Unmarshal([]byte(k.Doc), &d); err != nil {
		return err
	}
	if outcome == nil {
		err = t.itemDone(tx, i)
	} else {
		err = t.itemFailed(tx, i, &d, outcome)
	}
	if err != nil {
		return err
	}
	return t.endTask(tx, m.Task)
}

// endTask ends a task when every item has a final result (BK-7).
func (t *Tenant) endTask(tx *store.Tx, task string) error {
	// The lock orders two nodes that finish the last items.
	if k, err := tx.SIMTask(task); err != nil || k.State != TaskInProgress {
		return err
	}
	n, err := tx.SIMTaskCounts(task)
	if err != nil || n[itemWaiting]+n[itemRemote]+n[TaskInProgress] > 0 {
		return err
	}
	state := TaskError
	if n[TaskDone] > 0 {
		state = TaskDone
	}
	return tx.EndSIMTask(task, state, t.Now())
}

// workRemoteItem asks a remote platform for the change of an item and writes
// the result. Rate limits put the item off (BK-9).
func (t *Tenant) workRemoteItem(ctx context.Context, d *taskDoc, item *store.SIMTaskItem) error {
	a := t.account(item.Account)
	if a == nil {
		return t.db.Update(ctx, func(tx *store.Tx) error { return t.itemFailed(tx, item, d, noPlatform(item.Account)) })
	}
	release, err := a.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	w := wish{product: item.Product, to: d.Status, cause: d.cause(), origin: Origin{Method: "POST", Path: d.Path},
		task: item.Task, position: item.Position}
	var i *store.SIMTaskItem
	ready, sent, err := t.claimItem(ctx, a, d, &w, &i)
	if err != nil || !ready {
		return err
	}
	if sent {
		// A node crashed between asking and learning the answer.
		if done, err := t.arrived(ctx, a, i.Product, d.Status); err == nil && done {
			return t.db.Update(ctx, func(tx *store.Tx) error { return t.itemDone(tx, i) })
		}
	}
	out, err := t.send(ctx, a, i.Product, d.Status, w.cause)
	return t.db.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		var f *fault.Error
		switch {
		case err == nil && out.Ticket != "":
			s, err := tx.SIM(i.Product)
			if err != nil {
				return err
			}
			m, err := t.newMonitor(tx, a, s, &w, phasePoll, out.Ticket, t.Now().Add(t.o.WorkEvery))
			if err != nil {
				return err
			}
			i.State, i.Monitor, i.Code = TaskInProgress, m.ID, 202
			return tx.PutSIMTaskItem(i, false)
		case err == nil:
			return t.itemDone(tx, i)
		case errors.As(err, &f) && f.Code == fault.SIMPlatformRateLimited && t.Now().Before(i.Due.Add(t.o.AsyncTimeout)):
			i.Due, i.Sent = t.Now().Add(max(f.After, time.Second)), false
			return tx.PutSIMTaskItem(i, false)
		}
		return t.itemFailed(tx, i, d, err)
	})
}

// claimItem checks an item and notes that the platform is about to be asked;
// ready is false when the item is finished, a monitor tracks it, or another node
// has taken it over. sent says that the platform may have been asked before.
func (t *Tenant) claimItem(ctx context.Context, a *account, d *taskDoc, w *wish, out **store.SIMTaskItem) (ready, sent bool, err error) {
	err = t.db.Update(ctx, func(tx *store.Tx) error {
		ready = false
		i, err := tx.SIMTaskItem(w.task, w.position)
		if errors.Is(err, store.ErrNone) || err == nil && i.State != itemRemote {
			return nil
		}
		if err != nil {
			return err
		}
		*out, sent = i, i.Sent
		// The item may have waited in line for longer than its lease.
		err = tx.RenewSIMTaskItem(i, t.bus.Node(), t.Now(), t.Now().Add(leaseFor))
		if errors.Is(err, store.ErrStale) {
			return nil
		}
		if err != nil {
			return err
		}
		s, err := tx.SIM(i.Product)
		if errors.Is(err, store.ErrNone) {
			return t.itemFailed(tx, i, d, fault.SIMProductNotFound.New("No product with id %s.", i.Product))
		}
		if err != nil {
			return err
		}
		if err := t.allowRemote(a, s, w); err != nil {
			return t.itemFailed(tx, i, d, err)
		}
		if Status(s.Status) == w.to {
			return t.itemDone(tx, i)
		}
		if a.Mode == Async {
			m, err := t.newMonitor(tx, a, s, w, phaseSend, "", t.Now())
			if err != nil {
				return err
			}
			i.State, i.Monitor, i.Code = TaskInProgress, m.ID, 202
			tx.After(t.remote.poke)
			return tx.PutSIMTaskItem(i, false)
		}
		ready, i.Sent = true, true
		if i.Due.IsZero() {
			i.Due = t.Now()
		}
		return tx.PutSIMTaskItem(i, true)
	})
	return ready, sent, err
}

// Task returns the task with all items; SIMTaskNotFound.
func (a *Access) Task(ctx context.Context, id string) (*Task, error) {
	if err := a.enter(ctx, "", &opMonitor, 0); err != nil {
		return nil, err
	}
	return a.t.task(ctx, id)
}

// Tasks returns a page of tasks, the newest first, and how many there are.
func (a *Access) Tasks(ctx context.Context, p Paging) (all []*Task, total int, err error) {
	if err := a.enter(ctx, "", &opMonitor, 0); err != nil {
		return nil, 0, err
	}
	err = a.t.db.View(ctx, func(tx *store.Tx) error {
		rows, n, err := tx.SIMTasks(p.offset(), p.size())
		total = n
		for _, k := range rows {
			if err == nil {
				var one *Task
				one, err = taskView(tx, k)
				all = append(all, one)
			}
		}
		return err
	})
	return all, total, known(err, fault.SIMTaskNotFound, "")
}

// CancelTask ends the items that were not started: they are cancelled, others
// run to their end. It returns the task.
func (a *Access) CancelTask(ctx context.Context, id string) (*Task, error) {
	t := a.t
	if err := a.enter(ctx, "", &opBulk, 0); err != nil {
		return nil, err
	}
	err := t.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.SIMTask(id); err != nil {
			return err
		}
		if _, err := tx.CancelSIMTask(id, 409); err != nil {
			return err
		}
		return t.endTask(tx, id)
	})
	if err != nil {
		return nil, known(err, fault.SIMTaskNotFound, "No task with id %s.", id)
	}
	return t.task(ctx, id)
}

func (t *Tenant) task(ctx context.Context, id string) (k *Task, err error) {
	err = t.db.View(ctx, func(tx *store.Tx) error {
		row, err := tx.SIMTask(id)
		if err == nil && !row.Ended.IsZero() && t.Now().Sub(row.Ended) >= t.o.MonitorKeep {
			err = store.ErrNone
		}
		if err == nil {
			k, err = taskView(tx, row)
		}
		return err
	})
	return k, known(err, fault.SIMTaskNotFound, "No task with id %s.", id)
}

func taskView(tx *store.Tx, row *store.SIMTask) (*Task, error) {
	var d taskDoc
	if err := json.Unmarshal([]byte(row.Doc), &d); err != nil {
		return nil, err
	}
	rows, err := tx.SIMTaskItems(row.ID)
	if err != nil {
		return nil, err
	}
	k := &Task{ID: row.ID, Type: "productStatusChange", State: row.State, Status: d.Status, Reason: d.Reason, CreatedAt: At(row.Created), FinishedAt: At(row.Ended),
		Items: []*TaskItem{}, Errors: []*Problem{}}
	for _, i := range rows {
		v := &TaskItem{ProductID: i.Product, State: i.State, StatusCode: i.Code, Status: Status(i.Status), Monitor: i.Monitor}
		if i.Product == "" {
			v.ICCID = &i.Given
		}
		k.Statistics.Total++
		switch i.State {
		case TaskDone:
			k.Statistics.Succeeded++
		case TaskFailed, TaskCancelled:
			k.Statistics.Failed++
		default:
			v.State = TaskInProgress
			k.Statistics.InProgress++
		}
		k.Items = append(k.Items, v)
		if i.Problem == "" {
			continue
		}
		p := new(Problem)
		if err := json.Unmarshal([]byte(i.Problem), p); err != nil {
			return nil, err
		}
		k.Errors = append(k.Errors, p)
	}
	return k, nil
}
