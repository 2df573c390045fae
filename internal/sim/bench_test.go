package sim_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/sim"
)

// BenchmarkMillion lists products of a tenant that has as many SIMs as
// NAVE_BENCH_SIMS says, 1,000,000 by default; half of them are active.
func BenchmarkMillion(b *testing.B) {
	n := 1_000_000
	if text := os.Getenv("NAVE_BENCH_SIMS"); text != "" {
		n, _ = strconv.Atoi(text)
	}
	ctx := context.Background()
	r := newDiskRig(b)
	r.fixture(icc1)
	begin := time.Now()
	done, err := r.admin().ImportStream(ctx, "HUBSIM_1", func(yield func(sim.SIM, error) bool) {
		for i := range n {
			if !yield(sim.SIM{ICCID: fmt.Sprintf("8901%015d", i), IMSI: fmt.Sprintf("26201%010d", i), MSISDN: fmt.Sprintf("49%010d", i)}, nil) {
				return
			}
		}
	}, nil)
	if err != nil || done != n {
		b.Fatal(done, err)
	}
	b.Logf("import of %d SIMs: %v, %.0f/s", n, time.Since(begin), float64(n)/time.Since(begin).Seconds())
	begin = time.Now()
	r.tick()
	b.Logf("events of the import in the event log after another %v", time.Since(begin))
	begin = time.Now()
	const changes = 10000
	for k := range changes / 1000 {
		var ids []string
		for i := range 1000 {
			ids = append(ids, fmt.Sprintf("HUBSIM-8901%015d", (k*1000+i)*(n/changes)))
		}
		task, err := r.admin().StartTask(ctx, sim.TaskRequest{Status: sim.Active, Products: ids})
		if err != nil {
			b.Fatal(err)
		}
		for task.State == sim.TaskInProgress {
			r.tick()
			if task, err = r.admin().Task(ctx, task.ID); err != nil {
				b.Fatal(err)
			}
		}
		if task.Statistics.Succeeded != 1000 {
			b.Fatal(task.Statistics)
		}
	}
	b.Logf("%d changes of status by tasks: %v, %.0f/s", changes, time.Since(begin), changes/time.Since(begin).Seconds())
	yes := true
	for _, c := range []struct {
		name string
		q    sim.Query
	}{
		{"first page of 10", sim.Query{}},
		{"last page of 10", sim.Query{Paging: sim.Paging{Number: n / 10, Size: 10}}},
		{"middle page of 1000", sim.Query{Paging: sim.Paging{Number: n / 2000, Size: 1000}}},
		{"last page of 10 backwards", sim.Query{Sort: []sim.SortKey{{Name: "id", Descending: true}}, Paging: sim.Paging{Number: n / 10, Size: 10}}},
		{"status INVENTORY far page", sim.Query{Status: []sim.Status{sim.Inventory}, Paging: sim.Paging{Number: n * 9 / 100, Size: 10}}},
		{"status ACTIVE (one in a hundred) far page", sim.Query{Status: []sim.Status{sim.Active}, Paging: sim.Paging{Number: changes / 11, Size: 10}}},
		{"two statuses, sorted by status", sim.Query{Status: []sim.Status{sim.Active, sim.Inventory}, Sort: []sim.SortKey{{Name: "status"}}, Paging: sim.Paging{Number: n / 20, Size: 10}}},
		{"linked, none", sim.Query{Linked: &yes}},
		{"one iccid", sim.Query{ICCID: []string{icc1}}},
		{"range of 1000 iccids", sim.Query{ICCIDFrom: "8901000000000050000", ICCIDTo: "8901000000000050999"}},
		{"sorted by iccid, middle page", sim.Query{Sort: []sim.SortKey{{Name: "iccid"}}, Paging: sim.Paging{Number: n / 20, Size: 10}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := r.admin().List(ctx, &c.q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
