package load

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Provisioned is how a fleet's provisioning stands.
type Provisioned struct {
	Devices    int     `json:"devices"`
	Registered int64   `json:"registered"` // the service has taken their registration
	Assigned   int64   `json:"assigned"`
	Failed     int64   `json:"failed"`
	Seconds    float64 `json:"seconds"`
	PerSecond  float64 `json:"perSecond"` // assigned

	Latency   *Latency `json:"latency,omitempty"` // from the first request until assigned
	LastError string   `json:"lastError,omitempty"`
}

// Enrolment registers a fleet.
type Enrolment struct {
	// Set by NewEnrolment, then read only:
	p       *Provisioner
	devices []Device
	window  int

	registered, assigned atomic.Int64
	failed               faults
	begun                time.Time

	// Guarded by mu:
	mu   sync.Mutex
	hist Histogram
	took time.Duration
}

// NewEnrolment registers devices, whose ids are registration ids, at most window of them at a time.
func NewEnrolment(p *Provisioner, devices []Device, window int) *Enrolment {
	return &Enrolment{p: p, devices: devices, window: window, begun: time.Now()}
}

// Run registers all devices, each as a device of the field does: it obeys every pause that the service asks for. It returns those that were
// assigned, with their hubs and the ids they have there; and without Host those
// whose registration ctx has cut off, which the service may have assigned all the same.
func (e *Enrolment) Run(ctx context.Context) []Device {
	at := make([]Device, len(e.devices))
	each(ctx, len(e.devices), e.window, nil, func(ctx context.Context, i int) error {
		begun, d := time.Now(), e.devices[i]
		a, err := e.p.Register(ctx, Enrolled{ID: d.ID, Key: d.Key}, Pace{Registered: func() { e.registered.Add(1) }})
		switch {
		case err == nil && a.Status == "assigned":
			e.assigned.Add(1)
			at[i] = Device{ID: a.Device, Key: d.Key, Host: a.Hub, Registration: d.ID}
			e.mu.Lock()
			e.hist.Record(time.Since(begun))
			e.mu.Unlock()
		case err == nil:
			e.failed.add(fmt.Errorf("%s: the registration ended %s: %d %s", d.ID, a.Status, a.Code, a.Message))
		case ctx.Err() != nil:
			at[i] = Device{ID: d.ID, Key: d.Key, Registration: d.ID}
		default:
			e.failed.add(fmt.Errorf("%s: %w", d.ID, err))
		}
		return nil
	})
	e.mu.Lock()
	e.took = time.Since(e.begun)
	e.mu.Unlock()
	var done []Device
	for _, d := range at {
		if d.ID != "" {
			done = append(done, d)
		}
	}
	return done
}

// Count returns how it stands.
func (e *Enrolment) Count() Provisioned {
	s := Provisioned{Devices: len(e.devices), Registered: e.registered.Load(), Assigned: e.assigned.Load()}
	s.Failed, s.LastError = e.failed.read()
	e.mu.Lock()
	defer e.mu.Unlock()
	took := e.took
	if took == 0 {
		took = time.Since(e.begun)
	}
	if s.Seconds = took.Seconds(); s.Seconds > 0 {
		s.PerSecond = float64(s.Assigned) / s.Seconds
	}
	if e.hist.Count() > 0 {
		l := e.hist.Latency()
		s.Latency = &l
	}
	return s
}
