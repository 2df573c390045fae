package load

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

// ProvisionRun says how registrations are measured: window devices are under way, each a new one, and share the provisioner's turns.
type ProvisionRun struct {
	Key      string // of the symmetric-key group
	Prefix   string // of the registration ids
	Window   int
	Warmup   time.Duration
	Duration time.Duration
	Live     func(Live)
}

// RunProvision measures whole registrations: register, and questions until assigned. The first question comes at once, in place of the
// service's pause; later ones obey it. It returns the devices, too.
func RunProvision(ctx context.Context, p *Provisioner, o ProvisionRun) (*Result, []Device, error) {
	base := time.Now()
	from, until := base.Add(o.Warmup), base.Add(o.Warmup+o.Duration)
	var number, answered, done, polls atomic.Int64
	var failed faults
	hists, made, all := make([]Histogram, o.Window), make([][]Device, o.Window), sync.WaitGroup{}
	one := func(worker int) error {
		id := o.Prefix + strconv.FormatInt(number.Add(1), 10)
		key, err := cred.Derive(o.Key, id)
		if err != nil {
			return err
		}
		begun := time.Now()
		a, err := p.Register(ctx, Enrolled{ID: id, Key: key}, Pace{First: -1})
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		made[worker] = append(made[worker], Device{ID: a.Device, Host: a.Hub, Registration: id, Key: key})
		if a.Status != "assigned" {
			return fmt.Errorf("%s: the registration ended %s: %d %s", id, a.Status, a.Code, a.Message)
		}
		answered.Add(1)
		polls.Add(int64(a.Polls))
		if now := time.Now(); now.After(from) && now.Before(until) {
			done.Add(1)
			hists[worker].Record(now.Sub(begun))
		}
		return nil
	}
	stop := watch(answered.Load, o.Live)
	for i := range o.Window {
		all.Go(func() {
			for first := true; ctx.Err() == nil && (first || time.Now().Before(until)); first = false {
				if err := one(i); err != nil && ctx.Err() == nil {
					failed.add(err)
					wait(ctx, 100*time.Millisecond)
				}
			}
		})
	}
	all.Wait()
	stop()
	r := &Result{Kind: "provision-" + p.over, Connections: cap(p.turns), Window: o.Window, Sent: number.Load(), Answered: answered.Load(), Done: done.Load()}
	if n := answered.Load(); n > 0 {
		r.Polls = float64(polls.Load()) / float64(n)
	}
	var sum Histogram
	var devices []Device
	for i := range hists {
		sum.Merge(&hists[i])
		devices = append(devices, made[i]...)
	}
	r.finish(&sum, &failed, min(o.Duration, max(0, time.Since(base)-o.Warmup)))
	return r, devices, ctx.Err()
}
