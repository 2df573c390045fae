package load

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// FleetOptions say what simulated devices do.
type FleetOptions struct {
	Rate      float64       // telemetry messages a second, of all devices together; 0: none
	Size      int           // bytes of a payload; smaller than a measurement: a measurement
	QoS       byte          // of telemetry, 0 or 1
	Methods   bool          // answer direct methods with their own payload
	Twin      time.Duration // how often each device reports a property; 0: never
	TokenLife time.Duration // default 1 h; a device connects anew before its token ends
	Parallel  int           // devices that connect at the same time; default 32

	Hubs map[string]Target // by host, for devices on other hubs than the target's; those without go to port 8883 of the host
}

// Fleet is a number of devices that behave as devices do: each has its own connection, sends on a schedule, sends again what was not
// acknowledged when a connection was lost, and comes back after a growing, random pause.
type Fleet struct {
	// Set by NewFleet, then read only:
	s       *Service
	target  Target
	devices []Device
	o       FleetOptions
	door    chan struct{} // a token for each that connects

	stats  stats
	failed faults
}

// stats is shared by all members.
type stats struct {
	connected, connects, losses, renewals atomic.Int64
	sent, acked, resent, skipped          atomic.Int64
	c2d, desired, methods, reported       atomic.Int64

	// Guarded by mu:
	mu     sync.Mutex
	total  Histogram
	recent Histogram
	begun  time.Time
	ended  time.Time
}

// NewFleet returns a fleet of devices that exist on the service's hub.
func NewFleet(s *Service, t Target, devices []Device, o FleetOptions) (*Fleet, error) {
	switch {
	case o.Rate < 0:
		return nil, fmt.Errorf("a rate of %g messages a second is impossible", o.Rate)
	case o.QoS > 1:
		return nil, fmt.Errorf("QoS %d is not spoken: 0 or 1 is", o.QoS)
	case o.Size < 0 || o.Size > 256<<10:
		return nil, fmt.Errorf("a payload of %d bytes is impossible: up to 262144 are taken", o.Size)
	}
	if o.TokenLife == 0 {
		o.TokenLife = tokenLife
	}
	if o.Parallel == 0 {
		o.Parallel = 32
	}
	return &Fleet{s: s, target: t, devices: devices, o: o, door: make(chan struct{}, o.Parallel)}, nil
}

// Run lets the devices live until ctx ends, and returns when all have disconnected in order.
func (f *Fleet) Run(ctx context.Context) {
	start := time.Now()
	f.stats.mu.Lock()
	f.stats.begun = start
	f.stats.mu.Unlock()
	var all sync.WaitGroup
	for i, d := range f.devices {
		m := &member{f: f, d: d, walk: newWalk(), unacked: map[uint16]*sending{}}
		if f.o.Rate > 0 {
			m.pace = newPace(start, f.o.Rate, i, len(f.devices))
		}
		all.Go(func() { m.run(ctx) })
	}
	all.Wait()
	f.stats.mu.Lock()
	f.stats.ended = time.Now()
	f.stats.mu.Unlock()
}

// targetOf is where the device's hub listens.
func (f *Fleet) targetOf(d Device) Target {
	if d.Host == "" || strings.EqualFold(d.Host, f.s.host) {
		return f.target
	}
	if t, ok := f.o.Hubs[strings.ToLower(d.Host)]; ok {
		return t
	}
	conf := f.target.TLS.Clone()
	if conf == nil {
		conf = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	conf.ServerName = d.Host
	return Target{Address: net.JoinHostPort(d.Host, "8883"), TLS: conf}
}

func (s *stats) record(d time.Duration) {
	s.acked.Add(1)
	s.mu.Lock()
	s.total.Record(d)
	s.recent.Record(d)
	s.mu.Unlock()
}

// Summary is what a fleet has done. Unacked messages were sent and never acknowledged, skipped ones were due while a device was offline or
// had too many under way, and were not made.
type Summary struct {
	Devices   int      `json:"devices"`
	Connected int64    `json:"connected"`
	Seconds   float64  `json:"seconds"`
	Sent      int64    `json:"sent"`
	Acked     int64    `json:"acked"`
	Unacked   int64    `json:"unacked"`
	Resent    int64    `json:"resent"`
	Skipped   int64    `json:"skipped"`
	PerSecond float64  `json:"perSecond"`
	Latency   *Latency `json:"ackLatency,omitempty"`

	Connects int64 `json:"connects"`
	Losses   int64 `json:"losses"`
	Renewals int64 `json:"renewals"` // connections made anew for a new token

	C2D      int64 `json:"c2d"`
	Methods  int64 `json:"methods"`
	Desired  int64 `json:"desired"`
	Reported int64 `json:"reported"`

	Errors    int64  `json:"errors"`
	LastError string `json:"lastError,omitempty"`
}

// Summary returns the figures since the start.
func (f *Fleet) Summary() Summary {
	s := f.counts()
	f.stats.mu.Lock()
	defer f.stats.mu.Unlock()
	if f.stats.total.Count() > 0 {
		l := f.stats.total.Latency()
		s.Latency = &l
	}
	return s
}

// Recent is Summary with the latency of what was acknowledged since the last call only.
func (f *Fleet) Recent() Summary {
	s := f.counts()
	f.stats.mu.Lock()
	defer f.stats.mu.Unlock()
	if f.stats.recent.Count() > 0 {
		l := f.stats.recent.Latency()
		s.Latency = &l
		f.stats.recent = Histogram{}
	}
	return s
}

func (f *Fleet) counts() Summary {
	t := &f.stats
	s := Summary{Devices: len(f.devices), Acked: t.acked.Load(), Connected: t.connected.Load(), Sent: t.sent.Load(), Resent: t.resent.Load(),
		Skipped: t.skipped.Load(), Connects: t.connects.Load(), Losses: t.losses.Load(), Renewals: t.renewals.Load(), C2D: t.c2d.Load(),
		Methods: t.methods.Load(), Desired: t.desired.Load(), Reported: t.reported.Load()}
	if f.o.QoS == 1 {
		s.Unacked = s.Sent - s.Acked
	}
	t.mu.Lock()
	begun, ended := t.begun, t.ended
	t.mu.Unlock()
	if ended.IsZero() {
		ended = time.Now()
	}
	if !begun.IsZero() {
		s.Seconds = ended.Sub(begun).Seconds()
	}
	if s.Seconds > 0 {
		s.PerSecond = float64(s.Sent) / s.Seconds
	}
	s.Errors, s.LastError = f.failed.read()
	return s
}
