package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/load"
)

// enrolFlags are those of simulate for a fleet that provisions itself.
type enrolFlags struct {
	on       bool
	group    string
	window   int
	parallel int
	reach    dpsReach
}

func (n *enrolFlags) add(c *cobra.Command, e *env) {
	f := c.Flags()
	f.BoolVar(&n.on, "provision", false, "the devices register at the provisioning service first")
	f.StringVar(&n.group, "group", "", "symmetric-key group by which they register; made when there is none (one of this run)")
	f.StringVar(&n.reach.over, "provision-over", load.OverMQTT, "protocol of registrations: mqtt or https")
	f.StringVar(&n.reach.address, "provision-address", "", "host:port to dial for registrations (where the node listens)")
	f.IntVar(&n.window, "provision-window", 2000, "registrations under way at the same time")
	f.IntVar(&n.parallel, "provision-parallel", 50, "requests under way at the same time; over HTTPS so many connections")
	c.RegisterFlagCompletionFunc("group", e.completeEnrolment(groups))
	c.RegisterFlagCompletionFunc("provision-over", cobra.FixedCompletions([]string{load.OverMQTT, load.OverHTTPS}, cobra.ShellCompDirectiveNoFileComp))
}

// crew is a fleet that provisions itself, with what has to be undone.
type crew struct {
	e     *env
	s     *simulation
	c     *dpsClient
	group string
	made  bool // the group is ours
	key   string
}

// runProvisioned registers the fleet, runs it on its hubs and takes away what it
// has left, unless that is to be kept.
func (s *simulation) runProvisioned(ctx context.Context, e *env, h *loadHub) error {
	if e.login != "" {
		return misuse("Leave --login away: the console knows both the hub and the provisioning service.", "--provision needs the console of a node")
	}
	if s.enrol.window < 1 || s.enrol.parallel < 1 {
		return misuse("", "--provision-window and --provision-parallel must be above zero")
	}
	w := &crew{e: e, s: s}
	if err := w.join(ctx); err != nil {
		return err
	}
	if w.made {
		e.say("Made the group %s for this run.", w.group)
	}
	devices, count, err := w.enrol(ctx)
	if !s.keep.keep {
		defer func() { w.leave(context.WithoutCancel(ctx), devices) }()
	}
	if err != nil {
		return err
	}
	if !e.json() {
		e.showProvisioned(count)
	}
	if len(devices) == 0 {
		return trouble("The cause of the last failure: "+count.LastError, "no device was assigned to a hub")
	}
	if s.fleet.Hubs, err = e.hubTargets(ctx, h); err != nil {
		return err
	}
	fleet, err := load.NewFleet(h.Service, h.Target(), devices, s.fleet)
	if err != nil {
		return misuse("", "%v", err)
	}
	live(ctx, e, fleet, s.duration)
	if e.json() {
		return e.printJSON(struct {
			Provisioned *load.Provisioned `json:"provisioned"`
			load.Summary
		}{count, fleet.Summary()})
	}
	return e.reportFleet(fleet)
}

// join finds the group and its key, or makes it.
func (w *crew) join(ctx context.Context) (err error) {
	if w.c, err = w.e.dps(ctx); err != nil {
		return err
	}
	w.group = cmp.Or(w.s.enrol.group, strings.ToLower(strings.Trim(w.s.prefix, "-._:"))+"-"+fmt.Sprint(time.Now().Unix()))
	w.key, err = w.c.key(ctx, groups, w.group)
	if !isMissing(err) {
		return err
	}
	w.key = cred.NewLongKey()
	doc := map[string]any{groups.id: w.group, "attestation": map[string]any{"type": "symmetricKey",
		"symmetricKey": map[string]string{"primaryKey": w.key, "secondaryKey": cred.NewLongKey()}}}
	if _, err = w.c.api(ctx, http.MethodPut, groups.at(w.group), nil, doc, nil); err == nil {
		w.made = true
	}
	return err
}

// enrol registers the devices and shows how it goes on.
func (w *crew) enrol(ctx context.Context) ([]load.Device, *load.Provisioned, error) {
	o, err := w.e.provisionOptions(ctx, &w.s.enrol.reach)
	if err != nil {
		return nil, nil, err
	}
	o.Parallel = w.s.enrol.parallel
	p, err := load.NewProvisioner(*o)
	if err != nil {
		return nil, nil, misuse("", "%v", err)
	}
	defer p.Close()
	devices := load.Devices(w.s.prefix, w.s.devices)
	for i := range devices {
		if devices[i].Key, err = derive(w.key, devices[i].ID); err != nil {
			return nil, nil, err
		}
	}
	run := load.NewEnrolment(p, devices, w.s.enrol.window)
	var assigned []load.Device
	ended := make(chan struct{})
	go func() { assigned = run.Run(ctx); close(ended) }()
	w.watch(run, ended)
	count := run.Count()
	return assigned, &count, ctx.Err()
}

// watch shows the counts until the devices are registered.
func (w *crew) watch(run *load.Enrolment, ended <-chan struct{}) {
	every := 10 * time.Second
	if w.e.live {
		every = 200 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	line := w.e.progress("Provisioning")
	defer line.end()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		n := run.Count()
		text := fmt.Sprintf("%.0f s: %d of %d registered, %d assigned (%.0f/s), %d failed", n.Seconds, n.Registered, n.Devices, n.Assigned, n.PerSecond, n.Failed)
		if n.LastError != "" {
			text += ", last: " + oneLine(n.LastError)
		}
		if w.e.live {
			line.note("%s", text)
		} else {
			w.e.say("Provisioning %s", text)
		}
	}
}

func (e *env) showProvisioned(n *load.Provisioned) {
	latency, failed := "", ""
	if n.Latency != nil {
		latency = latencyText(n.Latency)
	}
	if n.Failed > 0 {
		failed = fmt.Sprintf("%d, last: %s", n.Failed, n.LastError)
	}
	e.facts("Provisioned", fmt.Sprintf("%d of %d assigned in %.1f s (%.0f/s), every pause that the service asked for obeyed", n.Assigned, n.Devices, n.Seconds, n.PerSecond),
		"Assigned after", latency, "Failed", failed)
}

// hubTargets returns where the hubs of the node listen, by their hosts.
func (e *env) hubTargets(ctx context.Context, h *loadHub) (map[string]load.Target, error) {
	c, err := e.operator(ctx)
	if err != nil {
		return nil, err
	}
	var s statusAnswer
	if err := c.ask(ctx, http.MethodGet, "/api/status", nil, &s); err != nil {
		return nil, err
	}
	all := map[string]load.Target{}
	for _, hub := range s.Hubs {
		t := h.Target()
		t.TLS = t.TLS.Clone()
		t.TLS.ServerName = hub.Host
		all[strings.ToLower(hub.Host)] = t
	}
	return all, nil
}

// leave deletes devices, their registrations and records, and a group that was
// made for the run. Failures are told, and stop nothing.
func (w *crew) leave(ctx context.Context, devices []load.Device) {
	bar := w.e.progress("Deleting devices")
	byHub := map[string][]load.Device{}
	for _, d := range devices {
		if d.Host == "" {
			w.settle(ctx, &d)
		}
		if d.Host != "" {
			byHub[d.Host] = append(byHub[d.Host], d)
		}
	}
	for host, list := range byHub {
		w.warn(w.deleteDevices(ctx, host, list, bar))
	}
	bar.end()
	w.warn(w.c.forget(ctx, w.e, devices))
	if w.made {
		_, err := w.c.api(ctx, http.MethodDelete, groups.at(w.group), nil, nil, nil)
		if err == nil {
			_, err = w.c.api(ctx, http.MethodDelete, "/groupRecords/"+url.PathEscape(w.group), nil, nil, nil)
		}
		if !isMissing(err) {
			w.warn(err)
		}
	}
}

// settle asks the service what became of a registration that was cut off; a
// device without hub has got none.
func (w *crew) settle(ctx context.Context, d *load.Device) {
	var state registrationText
	_, err := w.c.api(ctx, http.MethodGet, registrationPath(d.Registration), nil, nil, &state)
	switch {
	case err == nil && state.Hub != "":
		d.Host, d.ID = state.Hub, state.Device
	case !isMissing(err):
		w.warn(err)
	}
}

func (w *crew) warn(err error) {
	if err != nil {
		w.e.say("%s %s", paint(w.e.colorErr, yellow, "warning:"), oneLine(err.Error()))
	}
}

func (w *crew) deleteDevices(ctx context.Context, host string, devices []load.Device, bar *progress) error {
	e := *w.e
	e.hub = host
	h, err := e.loadHub(ctx, &w.s.reach, 0)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := h.Delete(ctx, devices, bar.step); err != nil {
		return fmt.Errorf("devices of %s could not be deleted: %w", host, err)
	}
	return nil
}

// forgetParallel is how many registrations are forgotten at the same time.
const forgetParallel = 16

// forget deletes registrations and device records.
func (c *dpsClient) forget(ctx context.Context, e *env, devices []load.Device) error {
	bar := e.progress("Forgetting registrations")
	defer bar.end()
	var mu sync.Mutex
	var first error
	var all sync.WaitGroup
	next, done := 0, 0
	for range forgetParallel {
		all.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= len(devices) {
					return
				}
				id := devices[i].Registration
				_, err := c.api(ctx, http.MethodDelete, registrationPath(id), nil, nil, nil)
				if err == nil || isMissing(err) {
					_, err = c.api(ctx, http.MethodDelete, "/deviceRecords/"+url.PathEscape(id), forced(true), nil, nil)
				}
				mu.Lock()
				if done++; err != nil && !isMissing(err) && first == nil {
					first = fmt.Errorf("the registration %s: %w", id, err)
				}
				bar.step(done, len(devices))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return first
}
