package sim_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/sim"
)

const (
	icc1 = "8900101000000000019"
	icc2 = "8900101000000000027"
)

// TestSteps goes through the table of SC-7.
func TestSteps(t *testing.T) {
	const yes, no = true, false
	table := map[sim.Status][5]bool{ // ACTIVE, SUSPENDED, BLOCKED, PENDING_TERMINATE, TERMINATED
		sim.Created:          {no, no, no, no, yes},
		sim.Inventory:        {yes, no, no, no, yes},
		sim.PendingActive:    {yes, no, no, no, yes},
		sim.Active:           {yes, yes, yes, yes, yes},
		sim.Suspended:        {yes, yes, yes, yes, yes},
		sim.Blocked:          {yes, yes, yes, yes, yes},
		sim.PendingTerminate: {yes, no, no, yes, yes},
		sim.Terminated:       {no, no, no, no, yes},
	}
	for from, row := range table {
		for n, ok := range row {
			if err := sim.Step(from, sim.SettableStatuses[n]); (err == nil) != ok {
				t.Errorf("%s to %s: %v", from, sim.SettableStatuses[n], err)
			}
		}
	}
}

func TestLifeCycle(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	id := r.fixture(icc1)[0]
	t.Run("C-212 birth", func(t *testing.T) {
		r.wantStatus(id, sim.Inventory)
		h, n, err := r.admin().History(ctx, id, sim.Paging{})
		if err != nil || n != 2 || *h[0].From != "CREATED" || *h[0].To != "INVENTORY" || h[1].From != nil {
			t.Fatalf("%+v %d %v", h, n, err)
		}
	})
	t.Run("C-127 not from stock to suspended", func(t *testing.T) {
		_, err := r.change(id, sim.Suspended)
		wantFault(t, err, fault.SIMStatusNotAllowed)
	})
	t.Run("C-137 immediate activation", func(t *testing.T) {
		r.mustChange(id, sim.Active)
		card := r.product(id).Card()
		for _, c := range card.ProductCharacteristic {
			if c.Name == "dateActivated" && c.Value != "2026-03-01T12:00:00.000Z" {
				t.Error(c)
			}
		}
	})
	t.Run("C-128 the same status changes nothing", func(t *testing.T) {
		_, before, _ := r.admin().History(ctx, id, sim.Paging{})
		r.mustChange(id, sim.Active)
		if _, after, _ := r.admin().History(ctx, id, sim.Paging{}); after != before {
			t.Errorf("%d entries, before %d", after, before)
		}
	})
	t.Run("RP-9 a caller's reason is not that of the hub", func(t *testing.T) {
		if _, err := r.admin().ChangeStatus(ctx, sim.StatusChange{Product: id + "-simCard", To: sim.Suspended, Reason: "data_limit"}); err != nil {
			t.Fatal(err)
		}
		r.tick()
		r.wantStatus(id, sim.Suspended)
		r.mustChange(id, sim.Active)
	})
	t.Run("C-125 informative statuses cannot be requested", func(t *testing.T) {
		_, err := r.change(id, sim.Inventory)
		wantFault(t, err, fault.SIMStatusNotSettable)
	})
	t.Run("C-122 C-123 only the card can be changed", func(t *testing.T) {
		for _, part := range []string{"", "-dataConnectivity", "-usageVolume-data"} {
			_, err := r.admin().ChangeStatus(ctx, sim.StatusChange{Product: id + part, To: sim.Suspended})
			wantFault(t, err, fault.SIMNotPatchable)
		}
	})
	t.Run("C-131 a test that fails", func(t *testing.T) {
		_, err := r.admin().ChangeStatus(ctx, sim.StatusChange{Product: id + "-simCard", To: sim.Blocked, Test: sim.Suspended})
		wantFault(t, err, fault.SIMTestFailed)
		r.wantStatus(id, sim.Active)
	})
	t.Run("C-139 a withdrawn termination", func(t *testing.T) {
		r.mustChange(id, sim.PendingTerminate, sim.Active)
		r.clock.set(time.Date(2026, 4, 1, 0, 1, 0, 0, time.UTC))
		r.tick()
		r.wantStatus(id, sim.Active)
	})
	t.Run("C-138 termination at the end of the period", func(t *testing.T) {
		r.device("dev-1", "", "")
		r.link(id, "dev-1")
		r.mustChange(id, sim.PendingTerminate)
		r.clock.set(time.Date(2026, 4, 30, 23, 59, 59, 0, time.UTC))
		r.tick()
		r.wantStatus(id, sim.PendingTerminate)
		r.clock.set(time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC))
		r.tick()
		r.wantStatus(id, sim.Terminated)
		if p := r.product(id); p.Device == nil || p.Device.ID != "dev-1" {
			t.Error("the link is gone")
		}
		if c := r.identity("dev-1").Connectivity; c == nil || !c.Barred || c.ICCID != icc1 {
			t.Errorf("%+v", c)
		}
	})
	t.Run("C-126 C-136 nothing after the end", func(t *testing.T) {
		_, err := r.change(id, sim.Active)
		wantFault(t, err, fault.SIMStatusNotAllowed)
		_, err = r.change("HUBSIM-8900101000000009999", sim.Active)
		wantFault(t, err, fault.SIMProductNotFound)
	})
}

func TestBirthDelay(t *testing.T) {
	r := newRig(t)
	r.account("SLOW", "SLOW", func(a *sim.Account) { a.Embedded = &sim.Embedded{ProvisioningDelay: 60} })
	id := r.stock("SLOW", "", icc1)[0]
	r.tick()
	r.wantStatus(id, sim.Created)
	r.clock.set(noon.Add(time.Minute))
	r.tick()
	r.wantStatus(id, sim.Inventory)
}

// TestTogether has two callers change one SIM at the same time: the history is
// a chain, and counts agree with the products.
func TestTogether(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	id := r.fixture(icc1)[0]
	r.mustChange(id, sim.Active)
	var both sync.WaitGroup
	for _, to := range []sim.Status{sim.Suspended, sim.Blocked} {
		both.Go(func() {
			for range 20 {
				for _, s := range []sim.Status{to, sim.Active} {
					if _, err := r.change(id, s); err != nil {
						t.Errorf("to %s: %v", s, err)
					}
				}
			}
		})
	}
	both.Wait()
	h, n, err := r.admin().History(ctx, id, sim.Paging{Size: 1000})
	if err != nil || n != len(h) {
		t.Fatal(n, len(h), err)
	}
	for i := 1; i < len(h); i++ {
		if h[i-1].From == nil || *h[i-1].From != *h[i].To {
			t.Fatalf("entry %d goes from %v, the one before to %v", i-1, h[i-1].From, h[i].To)
		}
	}
	page, err := r.admin().List(ctx, &sim.Query{Status: []sim.Status{*(*sim.Status)(h[0].To)}})
	if err != nil || page.Total != 1 || len(page.Products) != 1 {
		t.Fatal(page, err)
	}
}

func TestImport(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	r.fixture(icc1)
	t.Run("C-213 a duplicate rejects the import", func(t *testing.T) {
		_, err := r.admin().Import(ctx, "HUBSIM_1", []sim.SIM{{ICCID: icc2}, {ICCID: icc1}}, sim.Origin{})
		wantFault(t, err, fault.SIMDuplicate)
		if page, _ := r.admin().List(ctx, &sim.Query{}); page.Total != 1 {
			t.Error(page.Total)
		}
	})
	t.Run("C-212 numbers are allotted", func(t *testing.T) {
		all, err := r.admin().Import(ctx, "HUBSIM_1", make([]sim.SIM, 30), sim.Origin{})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, p := range all {
			if seen[p.ID] || !luhnGood(p.ID[len("HUBSIM-"):]) || len(p.ID) != len("HUBSIM-")+19 {
				t.Error(p.ID)
			}
			seen[p.ID] = true
		}
	})
	t.Run("C-226 no location, C-109 no voice", func(t *testing.T) {
		_, err := r.admin().Location(ctx, "HUBSIM-"+icc1)
		wantFault(t, err, fault.SIMNoData)
		_, err = r.admin().Product(ctx, "HUBSIM-"+icc1+"-usageVolume-voice", sim.ReadOptions{})
		wantFault(t, err, fault.SIMNoData)
	})
	t.Run("C-178 parts have no usage", func(t *testing.T) {
		_, err := r.admin().Usage(ctx, "HUBSIM-"+icc1+"-simCard", sim.UsageQuery{})
		wantFault(t, err, fault.SIMNotABundle)
	})
}

func luhnGood(digits string) bool {
	sum := 0
	for i := range len(digits) {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}
