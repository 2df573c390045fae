package main

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// ledger counts what was acknowledged and keeps what was found wrong.
type ledger struct {
	events, resent, reports, desired, registered, changed, removed, commands, received, completed atomic.Int64
	fed, appAcks, repeated, tokens, wishes, granted, copies                                       atomic.Int64
	tasks, resumed, switched                                                                      atomic.Int64

	// rough says that the disk fails: the hub may close connections and refuse.
	rough atomic.Bool
	// dying is set before the hub is killed.
	dying atomic.Bool

	// Guarded by mu:
	mu    sync.Mutex
	wrong []string
	count int
}

// maxShown is how many violations are kept as text.
const maxShown = 40

// violate notes a broken promise.
func (l *ledger) violate(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	if len(l.wrong) < maxShown {
		l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	}
}

// violations returns how many promises were broken, and the first of them.
func (l *ledger) violations() (int, []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count, append([]string(nil), l.wrong...)
}

// excused says whether a hub may refuse or be gone now.
func (l *ledger) excused() bool { return l.rough.Load() || l.dying.Load() }

// table returns the acknowledged work by kind.
func (l *ledger) table() [][2]string {
	row := func(name string, n *atomic.Int64) [2]string { return [2]string{name, fmt.Sprint(n.Load())} }
	return [][2]string{
		row("events acknowledged", &l.events), row("events sent again after a lost connection", &l.resent),
		row("reported patches acknowledged", &l.reports), row("desired patches acknowledged", &l.desired),
		row("registrations acknowledged", &l.registered), row("changes of registrations acknowledged", &l.changed),
		row("deletions acknowledged", &l.removed), row("commands accepted", &l.commands),
		row("commands received by devices", &l.received), row("commands acknowledged by devices", &l.completed),
		row("items of feed data acknowledged", &l.fed), row("acknowledgements of feed data by MQTT", &l.appAcks),
		row("items sent again and answered idempotent", &l.repeated), row("items that the log holds more than once", &l.copies),
		row("tokens issued", &l.tokens), row("desired states created", &l.wishes), row("reports on desired states acknowledged", &l.granted),
		row("tasks of SIMs acknowledged", &l.tasks), row("tasks that a kill interrupted and that ended", &l.resumed), row("changes of SIMs by tasks", &l.switched),
	}
}
