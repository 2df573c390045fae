package sim_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/sim"
)

// async makes an account of mode ASYNC with 5 s of delay, and an active SIM.
func async(r *rig) string {
	r.Helper()
	r.account("ASIM_1", "ASIM", func(a *sim.Account) {
		a.Embedded = &sim.Embedded{AsyncDelay: 5000}
	})
	id := r.stock("ASIM_1", "", "8900101000000000076")[0]
	r.mustChange(id, sim.Active)
	a := sim.Account{Account: "ASIM_1", Platform: "ASIM", Adapter: sim.AdapterEmbedded, Enabled: true, Mode: sim.Async, Embedded: &sim.Embedded{AsyncDelay: 5000}}
	if _, err := r.admin().PutPlatform(context.Background(), "ASIM_1", a); err != nil {
		r.Fatal(err)
	}
	return id
}

func TestMonitor(t *testing.T) {
	ctx := context.Background()
	r := newDiskRig(t)
	id := async(r)
	change := sim.StatusChange{Product: id + "-simCard", To: sim.Suspended, Origin: sim.Origin{Method: "PATCH", Path: "/x", Body: []byte(`{"status":"SUSPENDED"}`)}}
	c, err := r.admin().ChangeStatus(ctx, change)
	if err != nil || c.Monitor == nil {
		t.Fatal(c, err)
	}
	m := c.Monitor
	t.Run("C-141 C-142 tracked", func(t *testing.T) {
		if m.ID != "8900101000000000076-1772366400000" || m.State != sim.InProgress || m.Response.StatusCode != 202 {
			t.Errorf("%+v", m)
		}
		r.tick()
		r.wantStatus(id, sim.Active)
	})
	t.Run("C-144 one at a time", func(t *testing.T) {
		_, err := r.admin().ChangeStatus(ctx, sim.StatusChange{Product: id + "-simCard", To: sim.Blocked})
		wantFault(t, err, fault.SIMChangeInProgress)
		if p := sim.NewProblem(err, noon, "", ""); p.Monitor != m.ID {
			t.Error(p.Monitor)
		}
	})
	t.Run("C-143 C-148 completed after a restart", func(t *testing.T) {
		r.close()
		r.clock.set(noon.Add(5 * time.Second))
		r.open()
		r.tick()
		r.wantStatus(id, sim.Suspended)
		got, err := r.admin().Monitor(ctx, m.ID)
		if err != nil || got.State != sim.Completed || got.Response.StatusCode != 200 {
			t.Fatal(got, err)
		}
		if card, ok := got.Response.Body.(*sim.SubProduct); !ok || card.Status != sim.Suspended {
			t.Errorf("%+v", got.Response.Body)
		}
		if _, n, _ := r.admin().History(ctx, id, sim.Paging{}); n != 4 {
			t.Errorf("%d entries in the history", n)
		}
	})
	t.Run("C-145 unknown", func(t *testing.T) {
		_, err := r.admin().Monitor(ctx, "1-1")
		wantFault(t, err, fault.SIMMonitorNotFound)
	})
	t.Run("C-149 forgotten", func(t *testing.T) {
		r.clock.set(noon.Add(8 * 24 * time.Hour))
		_, err := r.admin().Monitor(ctx, m.ID)
		wantFault(t, err, fault.SIMMonitorNotFound)
		r.tick()
		if all, n, err := r.admin().Monitors(ctx, sim.MonitorQuery{}); err != nil || n != 0 {
			t.Error(all, n, err)
		}
	})
}

func TestWishForMonitor(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	id := r.fixture(icc1)[0]
	t.Run("C-146 respond-async", func(t *testing.T) {
		c, err := r.admin().ChangeStatus(ctx, sim.StatusChange{Product: id + "-simCard", To: sim.Active, Async: true})
		if err != nil || c.Monitor == nil {
			t.Fatal(c, err)
		}
		r.tick()
		if m, err := r.admin().Monitor(ctx, c.Monitor.ID); err != nil || m.State != sim.Completed {
			t.Fatal(m, err)
		}
		r.wantStatus(id, sim.Active)
	})
}

func TestTask(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	ids := r.fixture(icc1, icc2, "8900101000000000035", "8900101000000000043")
	s1, s2, gone := ids[0], ids[1], ids[3]
	r.mustChange(s1, sim.Active)
	r.mustChange(s2, sim.Active)
	r.mustChange(gone, sim.Terminated)
	t.Run("C-150 done at once", func(t *testing.T) {
		k, err := r.admin().StartTask(ctx, sim.TaskRequest{Status: sim.Suspended, Products: []string{s1, s2 + "-simCard"}})
		if err != nil || k.State != sim.TaskDone || k.Statistics != (sim.TaskStatistics{Total: 2, Succeeded: 2}) {
			t.Fatalf("%+v %v", k, err)
		}
		r.wantStatus(s1, sim.Suspended)
		r.wantStatus(s2, sim.Suspended)
	})
	t.Run("C-151 each for itself", func(t *testing.T) {
		k, err := r.admin().StartTask(ctx, sim.TaskRequest{Status: sim.Active, Products: []string{s1, gone}, ICCIDs: []string{"8900101000000009999"}})
		if err != nil || k.State != sim.TaskDone || k.Statistics != (sim.TaskStatistics{Total: 3, Succeeded: 1, Failed: 2}) {
			t.Fatalf("%+v %v", k, err)
		}
		if len(k.Errors) != 2 || k.Errors[0].Code != "status_not_allowed" || k.Errors[0].ProductID != gone || k.Errors[1].Code != "product_not_found" {
			t.Errorf("%+v", k.Errors)
		}
	})
	t.Run("C-152 all failed", func(t *testing.T) {
		if k, err := r.admin().StartTask(ctx, sim.TaskRequest{Status: sim.Active, Products: []string{gone}}); err != nil || k.State != sim.TaskError {
			t.Fatal(k, err)
		}
	})
	t.Run("C-154 named thrice", func(t *testing.T) {
		k, err := r.admin().StartTask(ctx, sim.TaskRequest{Status: sim.Active, Products: []string{s1, s1 + "-simCard"}, ICCIDs: []string{icc1}})
		if err != nil || k.Statistics.Total != 1 {
			t.Fatal(k, err)
		}
	})
	t.Run("the same id is never run again", func(t *testing.T) {
		want := sim.TaskRequest{ID: "1f0b7c1a-5f6e-4ad0-8a52-3b6a1f0c7e21", Status: sim.Suspended, Products: []string{s1}}
		if _, err := r.admin().StartTask(ctx, want); err != nil {
			t.Fatal(err)
		}
		r.mustChange(s1, sim.Active)
		if k, err := r.admin().StartTask(ctx, want); err != nil || k.State != sim.TaskDone {
			t.Fatal(k, err)
		}
		r.wantStatus(s1, sim.Active)
	})
	t.Run("C-153 with an asynchronous item", func(t *testing.T) {
		slow := async(r)
		k, err := r.admin().StartTask(ctx, sim.TaskRequest{Status: sim.Suspended, Products: []string{s1, slow}})
		if err != nil || k.State != sim.TaskInProgress || k.Items[1].Monitor == "" || k.Items[0].State != sim.TaskDone {
			t.Fatalf("%+v %v", k, err)
		}
		r.clock.set(noon.Add(5 * time.Second))
		r.tick()
		if k, err = r.admin().Task(ctx, k.ID); err != nil || k.State != sim.TaskDone || k.Statistics.Succeeded != 2 {
			t.Fatalf("%+v %v", k, err)
		}
	})
}

// TestTaskRestart ends the connectivity side in the middle of a task of many
// items: afterwards each has been done exactly once.
func TestTaskRestart(t *testing.T) {
	ctx := context.Background()
	r := newDiskRig(t)
	const n = 250
	r.account("HUBSIM_1", "HUBSIM", nil)
	all, err := r.admin().Import(ctx, "HUBSIM_1", make([]sim.SIM, n), sim.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, p := range all {
		ids = append(ids, p.ID)
	}
	k, err := r.admin().StartTask(ctx, sim.TaskRequest{Status: sim.Active, Products: ids})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r.close() // whatever has been leased waits until the lease is over
		r.clock.set(r.clock.now().Add(time.Hour))
		r.open()
	}
	r.tick()
	if k, err = r.admin().Task(ctx, k.ID); err != nil || k.State != sim.TaskDone || k.Statistics.Succeeded != n {
		t.Fatalf("%+v %v", k.Statistics, err)
	}
	for _, id := range ids {
		h, changes, err := r.admin().History(ctx, id, sim.Paging{})
		if err != nil || changes != 3 || *h[0].To != "ACTIVE" {
			t.Fatalf("%s: %d %v", id, changes, err)
		}
	}
	page, err := r.admin().List(ctx, &sim.Query{Status: []sim.Status{sim.Active}})
	if err != nil || page.Total != n {
		t.Error(page.Total, err)
	}
}

func TestCancel(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	r.account("HUBSIM_1", "HUBSIM", nil)
	all, err := r.admin().Import(ctx, "HUBSIM_1", make([]sim.SIM, 300), sim.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, p := range all {
		ids = append(ids, p.ID)
	}
	k, err := r.admin().StartTask(ctx, sim.TaskRequest{Status: sim.Active, Products: ids})
	if err != nil {
		t.Fatal(err)
	}
	if k, err = r.admin().CancelTask(ctx, k.ID); err != nil {
		t.Fatal(err)
	}
	r.tick()
	if k, err = r.admin().Task(ctx, k.ID); err != nil || k.State == sim.TaskInProgress || k.FinishedAt.IsZero() {
		t.Fatal(k.State, err)
	}
	active, err := r.admin().List(ctx, &sim.Query{Status: []sim.Status{sim.Active}})
	if err != nil || active.Total != k.Statistics.Succeeded || k.Statistics.Succeeded+k.Statistics.Failed != 300 {
		t.Errorf("%d active, %+v, %v", active.Total, k.Statistics, err)
	}
	_, err = r.admin().CancelTask(ctx, "nosuch")
	wantFault(t, err, fault.SIMTaskNotFound)
}

// TestPages compares pages of every order and filter with the whole list.
func TestPages(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	r.account("HUBSIM_1", "HUBSIM", nil)
	r.account("OTHER", "OTHER", nil)
	for n, account := range []string{"HUBSIM_1", "OTHER", "HUBSIM_1", "HUBSIM_1", "HUBSIM_1"} {
		if _, err := r.admin().Import(ctx, account, make([]sim.SIM, 100+n), sim.Origin{}); err != nil {
			t.Fatal(err)
		}
	}
	every := allPages(t, r, sim.Query{}, 1000)
	if len(every) != 510 {
		t.Fatal(len(every))
	}
	var active []string
	for n := 0; n < len(every); n += 7 {
		active = append(active, every[n])
	}
	if k, err := r.admin().StartTask(ctx, sim.TaskRequest{Status: sim.Active, Products: active}); err != nil || k.Statistics.Total != len(active) {
		t.Fatal(k, err)
	}
	r.tick()
	products := map[string]*sim.Product{}
	page, err := r.admin().List(ctx, &sim.Query{Paging: sim.Paging{Size: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range page.Products {
		products[p.ID] = p
	}
	yes, no := true, false
	for name, q := range map[string]sim.Query{
		"all": {}, "active": {Status: []sim.Status{sim.Active}}, "stock": {Status: []sim.Status{sim.Inventory}},
		"platform": {Platform: []string{"OTHER"}}, "none": {Status: []sim.Status{sim.Blocked}}, "linked": {Linked: &yes}, "not linked": {Linked: &no},
		"two": {Status: []sim.Status{sim.Active, sim.Inventory}, Account: []string{"HUBSIM_1"}},
	} {
		var want []string
		for _, id := range every {
			if q.Matches(products[id]) {
				want = append(want, id)
			}
		}
		for _, size := range []int{31, 1000} {
			if got := allPages(t, r, q, size); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s by %d: %d, want %d", name, size, len(got), len(want))
			}
			q.Sort = []sim.SortKey{{Name: "id", Descending: true}}
			got := allPages(t, r, q, size)
			for i := range got {
				if got[i] != want[len(want)-1-i] {
					t.Fatalf("%s backwards by %d: differs at %d", name, size, i)
				}
			}
			q.Sort = []sim.SortKey{{Name: "status", Descending: true}, {Name: "id"}}
			if got := allPages(t, r, q, size); len(got) != len(want) {
				t.Errorf("%s by status: %d, want %d", name, len(got), len(want))
			}
			q.Sort = nil
		}
	}
	if err := r.admin().DeletePlatform(ctx, "OTHER"); err != nil {
		t.Fatal(err)
	}
	if got := allPages(t, r, sim.Query{}, 100); len(got) != 510-101 {
		t.Error(len(got))
	}
}

func allPages(t *testing.T, r *rig, q sim.Query, size int) (ids []string) {
	t.Helper()
	for n := 1; ; n++ {
		q.Paging = sim.Paging{Number: n, Size: size}
		page, err := r.admin().List(context.Background(), &q)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page.Products {
			ids = append(ids, p.ID)
		}
		if len(page.Products) < size {
			if len(ids) != page.Total {
				t.Fatalf("%d products, total is %d", len(ids), page.Total)
			}
			return ids
		}
	}
}
