package dps_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
)

// BenchmarkRegister carries registrations of group members from Register to
// assigned, with one poll each, on a database file.
func BenchmarkRegister(b *testing.B) {
	k := openRig(b, "sqlite:"+filepath.Join(b.TempDir(), "nave.db"), &atomic.Int64{})
	k.link(hubA, 1)
	k.link(hubB, 1)
	g := k.group("fleet")
	ctx := context.Background()
	b.SetParallelism(256)
	var n atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id := fmt.Sprintf("device-%08d", n.Add(1))
			key, err := cred.Derive(g.Attestation.SymmetricKey.Primary, id)
			if err != nil {
				b.Error(err)
				return
			}
			token, err := cred.Sign(rigScope+"/registrations/"+id, key, "registration", time.Now().Add(time.Hour))
			if err != nil {
				b.Error(err)
				return
			}
			c := &dps.Claim{Scope: rigScope, ID: id, SAS: token, Version: modern, Transport: "https", Remote: "192.0.2.7:1"}
			op, err := k.service.Register(ctx, c, []byte(`{"registrationId":"`+id+`"}`))
			if err != nil {
				b.Error(err)
				return
			}
			dps.Await(k.service, op.ID)
			if op, err = k.service.Status(ctx, c, op.ID); err != nil || op.Status != dps.Assigned {
				b.Errorf("%+v, %v", op, err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "registrations/s")
}
