package load

import "time"

// Result is what a measurement found. Done counts what was answered while measuring, PerSecond is made from it; Sent and Answered
// count the whole run with warm-up and drain.
type Result struct {
	Kind        string  `json:"kind"`
	Connections int     `json:"connections"`
	Window      int     `json:"window,omitempty"`
	Size        int     `json:"size,omitempty"`
	QoS         int     `json:"qos,omitempty"`
	Rate        float64 `json:"rate,omitempty"` // asked for; 0 for a closed loop
	Seconds     float64 `json:"seconds"`

	Sent           int64    `json:"sent"`
	Answered       int64    `json:"answered"`
	Done           int64    `json:"done"`
	Polls          float64  `json:"polls,omitempty"`  // provisioning: questions until assigned, on average
	Unsent         int64    `json:"unsent,omitempty"` // open loop: was due, and found the window full until the end
	PerSecond      float64  `json:"perSecond"`
	BytesPerSecond float64  `json:"bytesPerSecond,omitempty"`
	Latency        *Latency `json:"latency,omitempty"`

	Errors    int64  `json:"errors"`
	LastError string `json:"lastError,omitempty"`
}

func (r *Result) finish(h *Histogram, f *faults, measured time.Duration) {
	r.Seconds = measured.Seconds()
	if r.Seconds > 0 {
		r.PerSecond = float64(r.Done) / r.Seconds
	}
	r.BytesPerSecond = r.PerSecond * float64(r.Size)
	if h.Count() > 0 {
		l := h.Latency()
		r.Latency = &l
	}
	r.Errors, r.LastError = f.read()
}

// Live is a look at a run that goes on: events answered so far, in total.
type Live struct {
	Elapsed  time.Duration
	Answered int64
}

// watch calls f a few times a second until stop is called; f may be nil.
func watch(count func() int64, f func(Live)) (stop func()) {
	if f == nil {
		return func() {}
	}
	end, ended, start := make(chan struct{}), make(chan struct{}), time.Now()
	go func() {
		defer close(ended)
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f(Live{Elapsed: time.Since(start), Answered: count()})
			case <-end:
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}
