package sim_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/sim"
)

// carrier is a platform outside of the process.
type carrier struct {
	sim.Platform
	account sim.Account

	mu       sync.Mutex
	products map[string]sim.Status
	fail     error
	failPage int // of List, counted from 1
	ticket   bool
	sent     []string
	parallel int
	most     int
}

func (c *carrier) Describe() sim.Description {
	c.mu.Lock()
	defer c.mu.Unlock()
	return sim.Description{Reference: c.account.Platform, Account: c.account.Account, Adapter: sim.AdapterHTTP, Mode: c.account.Mode, Settable: c.account.Settable,
		Capabilities: []sim.Capability{sim.CanStatus, sim.CanUsage}}
}

func (c *carrier) record(native string) *sim.Record {
	return &sim.Record{NativeID: native, Connectivity: sim.Cellular, Status: c.products[native], ICCID: native,
		Parts: []*sim.SubProduct{{Type: sim.SIMCard, ProductCharacteristic: []sim.Characteristic{{Name: "ICCID", Value: native}}}}}
}

func (c *carrier) List(_ context.Context, cursor string) (p sim.Page, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for n := range c.products {
		all = append(all, n)
	}
	slices.Sort(all)
	page := 1
	fmt.Sscan(cursor, &page)
	if c.fail != nil && page >= c.failPage {
		return p, c.fail
	}
	for _, n := range all[(page-1)*2 : min(page*2, len(all))] {
		p.Records = append(p.Records, c.record(n))
	}
	if page*2 < len(all) {
		p.Next = fmt.Sprint(page + 1)
	}
	return p, nil
}

func (c *carrier) Get(_ context.Context, native string) (*sim.Record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return nil, c.fail
	}
	if c.products[native] == "" {
		return nil, &sim.PlatformError{Class: sim.ClassNotFound, HTTPStatus: 404}
	}
	return c.record(native), nil
}

func (c *carrier) SetStatus(_ context.Context, native string, to sim.Status, _ string) (sim.Outcome, error) {
	c.mu.Lock()
	c.parallel++
	c.most = max(c.most, c.parallel)
	c.mu.Unlock()
	defer func() { c.mu.Lock(); c.parallel--; c.mu.Unlock() }()
	time.Sleep(time.Millisecond) // for others that may come meanwhile
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, native)
	if c.fail != nil {
		return sim.Outcome{}, c.fail
	}
	c.products[native] = to
	if c.ticket {
		return sim.Outcome{Ticket: "t-1"}, nil
	}
	return sim.Outcome{Record: c.record(native)}, nil
}

func (c *carrier) Poll(context.Context, string, string) (sim.Outcome, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return sim.Outcome{}, c.fail
	}
	return sim.Outcome{Record: c.record("8900101000000000084")}, nil
}

// calls returns the products whose status was set, and how many calls there
// were at one time.
func (c *carrier) calls() (sent []string, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.sent), c.most
}

func (c *carrier) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

const s8 = "RMT-8900101000000000084"

// remote is a rig with an account at a carrier.
func remote(t *testing.T, change func(*sim.Account)) (*rig, *carrier) {
	c := &carrier{products: map[string]sim.Status{}}
	t.Cleanup(sim.WithAdapter(func(env sim.AdapterEnv) (sim.Platform, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.account = env.Account
		return c, nil
	}))
	for n := range 5 {
		c.products[fmt.Sprintf("89001010000000000%02d", 80+n)] = sim.Active
	}
	r := newRig(t)
	a := sim.Account{Account: "REMOTE_1", Platform: "RMT", Adapter: sim.AdapterHTTP, AccountID: "100125", Enabled: true,
		Settable: []sim.Status{sim.Active, sim.Suspended, sim.Terminated},
		HTTP:     &sim.Remote{BaseURL: "https://cmp.test", TokenURL: "https://cmp.test/token", ClientID: "c", ClientSecret: "secret"}}
	if change != nil {
		change(&a)
	}
	if _, err := r.admin().CreatePlatform(context.Background(), a); err != nil {
		t.Fatal(err)
	}
	r.tick()
	return r, c
}

func (r *rig) later(d time.Duration) {
	r.Helper()
	r.clock.set(r.clock.now().Add(d))
	r.tick()
}

func TestSynchronise(t *testing.T) {
	ctx := context.Background()
	r, c := remote(t, nil)
	total := func() int {
		page, err := r.admin().List(ctx, &sim.Query{})
		if err != nil {
			t.Fatal(err)
		}
		return page.Total
	}
	if total() != 5 {
		t.Fatal(total())
	}
	t.Run("C-217 no secret is shown", func(t *testing.T) {
		v, err := r.admin().Platform(ctx, "REMOTE_1")
		if err != nil || v.Health.State != "OK" || v.Health.ProductCount != 5 {
			t.Errorf("%+v %v", v, err)
		}
		if c.account.HTTP.ClientSecret != "secret" {
			t.Error("the adapter did not get the secret")
		}
	})
	t.Run("C-198 C-200 a run that fails half way removes nothing", func(t *testing.T) {
		c.set(func() {
			delete(c.products, "8900101000000000080")
			c.fail, c.failPage = &sim.PlatformError{Class: sim.ClassOutage, HTTPStatus: 500}, 2
		})
		r.later(900 * time.Second)
		page, err := r.admin().List(ctx, &sim.Query{Platform: []string{"RMT"}})
		if err != nil || page.Total != 5 || len(page.Errors) != 1 || page.Errors[0].Code != "platform_error" {
			t.Fatalf("%+v %v", page, err)
		}
		if v, _ := r.admin().Platform(ctx, "REMOTE_1"); v.Health.State == "OK" || v.Health.LastFailureClass == nil {
			t.Errorf("%+v", v.Health)
		}
		if n := r.events()[sim.PlatformDegraded]; n != 1 {
			t.Errorf("%d events", n)
		}
	})
	t.Run("HA-9 a complete run does", func(t *testing.T) {
		c.set(func() { c.fail = nil })
		m, err := r.admin().Synchronise(ctx, "REMOTE_1", sim.Origin{})
		if err != nil || m.State != sim.InProgress {
			t.Fatal(m, err)
		}
		r.tick()
		if m, err = r.admin().Monitor(ctx, m.ID); err != nil || m.State != sim.Completed || total() != 4 {
			t.Fatal(m, err, total())
		}
	})
	t.Run("C-188 not known any more", func(t *testing.T) {
		c.set(func() { delete(c.products, "8900101000000000081") })
		_, err := r.admin().Product(ctx, "RMT-8900101000000000081", sim.ReadOptions{})
		wantFault(t, err, fault.SIMProductNotFound)
		if total() != 3 {
			t.Error(total())
		}
	})
	t.Run("C-179 C-223 a time-out is a 500, the index still answers", func(t *testing.T) {
		c.set(func() { c.fail = &sim.PlatformError{Class: sim.ClassTimeout, Took: 30 * time.Second} })
		_, err := r.admin().Product(ctx, s8, sim.ReadOptions{})
		wantFault(t, err, fault.SIMPlatformTimeout)
		p := sim.NewProblem(err, noon, "", "")
		if len(p.ExternalErrors) != 1 || p.ExternalErrors[0].Status != nil || p.ExternalErrors[0].DurationMS != 30000 || p.Status != 500 || p.Advice[0] != "retry_later" {
			t.Errorf("%+v", p)
		}
		if got, err := r.admin().Product(ctx, s8, sim.ReadOptions{Cached: true}); err != nil || !got.Cached {
			t.Error(got, err)
		}
	})
	t.Run("C-218 deleted", func(t *testing.T) {
		if err := r.admin().DeletePlatform(ctx, "REMOTE_1"); err != nil || total() != 0 {
			t.Error(err, total())
		}
	})
}

// TestSynchroniseTogether asks for a synchronisation while one is due: the
// monitor tells of a run of its own, not that another one was at it.
func TestSynchroniseTogether(t *testing.T) {
	ctx := context.Background()
	r, c := remote(t, nil)
	c.set(func() { c.fail, c.failPage = &sim.PlatformError{Class: sim.ClassOutage, HTTPStatus: 503}, 1 })
	for range 20 {
		r.clock.set(r.clock.now().Add(900 * time.Second))
		m, err := r.admin().Synchronise(ctx, "REMOTE_1", sim.Origin{})
		if err != nil {
			t.Fatal(err)
		}
		r.tick()
		if m, err = r.admin().Monitor(ctx, m.ID); err != nil || m.State != sim.InError {
			t.Fatalf("%+v %v", m, err)
		}
	}
}

func TestRemoteChange(t *testing.T) {
	ctx := context.Background()
	r, c := remote(t, func(a *sim.Account) { a.HTTP.MaxParallel = 1 })
	t.Run("C-129 not settable, nothing sent", func(t *testing.T) {
		_, err := r.change(s8, sim.Blocked)
		wantFault(t, err, fault.SIMStatusNotSupported)
		if sent, _ := c.calls(); sent != nil {
			t.Error(sent)
		}
	})
	t.Run("SC-12 at once", func(t *testing.T) {
		if got, err := r.change(s8, sim.Suspended); err != nil || got != sim.Suspended {
			t.Fatal(got, err)
		}
		if h, _, err := r.admin().History(ctx, s8, sim.Paging{}); err != nil || h[0].Actor.ID != "app-1" {
			t.Error(h, err)
		}
	})
	t.Run("C-194 refused", func(t *testing.T) {
		c.set(func() { c.fail = &sim.PlatformError{Class: sim.ClassRejected, HTTPStatus: 409} })
		_, err := r.change(s8, sim.Active)
		wantFault(t, err, fault.SIMPlatformActionRejected)
		c.set(func() { c.fail = nil })
	})
	t.Run("C-147 a ticket that ends in an error", func(t *testing.T) {
		c.set(func() { c.ticket = true })
		got, err := r.admin().ChangeStatus(ctx, sim.StatusChange{Product: s8 + "-simCard", To: sim.Active})
		if err != nil || got.Monitor == nil {
			t.Fatal(got, err)
		}
		c.set(func() {
			c.ticket, c.fail, c.failPage = false, &sim.PlatformError{Class: sim.ClassRejected, HTTPStatus: 409}, 1
		})
		r.later(2 * time.Hour)
		m, err := r.admin().Monitor(ctx, got.Monitor.ID)
		if err != nil || m.State != sim.InError || m.Response.StatusCode != 400 || m.Response.Body.(*sim.Problem).Code != "platform_request_rejected" {
			t.Fatalf("%+v %v", m, err)
		}
		c.set(func() { c.fail = nil })
	})
	t.Run("C-215 capability", func(t *testing.T) {
		_, err := r.admin().SendSMS(ctx, s8, sim.SMSRequest{Payload: "hi"}, sim.Origin{})
		wantFault(t, err, fault.SIMCapabilityMissing)
	})
	t.Run("C-153 C-196 a task, one call at a time", func(t *testing.T) {
		var ids []string
		for n := range 5 {
			ids = append(ids, fmt.Sprintf("RMT-89001010000000000%02d", 80+n))
		}
		c.set(func() { c.fail = &sim.PlatformError{Class: sim.ClassRateLimited, RetryAfter: 7 * time.Second} })
		k, err := r.admin().StartTask(ctx, sim.TaskRequest{Status: sim.Terminated, Products: ids})
		if err != nil || k.Statistics.InProgress != 5 {
			t.Fatalf("%+v %v", k, err)
		}
		c.set(func() { c.fail = nil })
		r.later(8 * time.Second)
		if k, err = r.admin().Task(ctx, k.ID); err != nil || k.State != sim.TaskDone || k.Statistics.Succeeded != 5 {
			t.Fatalf("%+v %v", k.Statistics, err)
		}
		if sent, most := c.calls(); most != 1 {
			t.Errorf("%d calls at a time, %v", most, sent)
		}
	})
}

func TestRemoteAsync(t *testing.T) {
	ctx := context.Background()
	r, c := remote(t, func(a *sim.Account) { a.Mode = sim.Async })
	c.set(func() { c.ticket = true })
	got, err := r.admin().ChangeStatus(ctx, sim.StatusChange{Product: s8 + "-simCard", To: sim.Suspended})
	if err != nil || got.Monitor == nil {
		t.Fatal(got, err)
	}
	r.tick()
	r.later(2 * time.Hour)
	m, err := r.admin().Monitor(ctx, got.Monitor.ID)
	if sent, _ := c.calls(); err != nil || m.State != sim.Completed || len(sent) != 1 {
		t.Fatalf("%+v %v %v", m, err, sent)
	}
	r.wantStatus(s8, sim.Suspended)
	t.Run("MO-7 no result in time", func(t *testing.T) {
		c.set(func() { c.fail = &sim.PlatformError{Class: sim.ClassOutage, HTTPStatus: 503} })
		c.set(func() { c.ticket = true; c.fail = nil })
		got, err := r.admin().ChangeStatus(ctx, sim.StatusChange{Product: s8 + "-simCard", To: sim.Active})
		if err != nil {
			t.Fatal(err)
		}
		r.tick()
		c.set(func() { c.fail, c.failPage = &sim.PlatformError{Class: sim.ClassOutage, HTTPStatus: 503}, 1 })
		r.later(time.Hour)
		r.later(25 * time.Hour)
		if m, err := r.admin().Monitor(ctx, got.Monitor.ID); err != nil || m.State != sim.InError || m.Response.Body.(*sim.Problem).Code != "platform_timeout" {
			t.Errorf("%+v %v", m, err)
		}
	})
}
