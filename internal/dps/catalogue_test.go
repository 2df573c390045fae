package dps_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// TestGroupIsKnownAtOnce has devices register as soon as their group was made,
// while other groups change and others register: what was answered is known on
// this node.
func TestGroupIsKnownAtOnce(t *testing.T) {
	k := start(t)
	ctx := context.Background()
	const groups = 70
	for n := range groups {
		k.group(fmt.Sprintf("before-%02d", n))
	}
	var over atomic.Bool
	var work sync.WaitGroup
	defer work.Wait()
	defer over.Store(true)
	for n := range 2 {
		work.Go(func() {
			id := fmt.Sprintf("before-%02d", n)
			for g, err := k.Group(ctx, id); !over.Load(); {
				if err != nil {
					t.Error(err)
					return
				}
				g, err = k.PutGroup(ctx, id, g, whatever)
			}
		})
	}
	for n := range 100 - groups {
		g := k.group(fmt.Sprintf("new-%02d", n))
		if _, err := k.service.Register(ctx, k.by(g, fmt.Sprintf("d-%02d", n)), nil); err != nil {
			t.Errorf("%s: %v", g.GroupID, err)
		}
	}
}
