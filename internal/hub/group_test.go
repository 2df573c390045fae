package hub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

func TestGroups(t *testing.T) {
	k := open(t)
	ctx := context.Background()
	want := func(names ...string) {
		t.Helper()
		all, err := k.Groups(ctx)
		if err != nil || !slices.Equal(all, names) {
			t.Errorf("groups are %v %v, want %v", all, err, names)
		}
	}
	want("$Default")
	for _, name := range []string{"", "-x", "two words", "a/b", strings.Repeat("x", 51)} {
		if err := k.CreateGroup(ctx, name); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"Dash.board-1_a", "dash.board-1_A", "$DEFAULT"} {
		if err := k.CreateGroup(ctx, name); err != nil {
			t.Error(err)
		}
	}
	want("$Default", "Dash.board-1_a")
	if name, ok, err := k.Group(ctx, "DASH.board-1_a"); name != "Dash.board-1_a" || !ok || err != nil {
		t.Errorf("group is %q %v %v", name, ok, err)
	}
	for n := range 19 {
		if err := k.CreateGroup(ctx, fmt.Sprint("g", n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.CreateGroup(ctx, "g19"); !errors.Is(err, fault.ArgumentInvalid) {
		t.Errorf("the 21st group: %v", err)
	}
	if err := k.DeleteGroup(ctx, "$default"); !errors.Is(err, fault.ArgumentInvalid) {
		t.Error(err)
	}
	if err := k.DeleteGroup(ctx, "dash.board-1_a"); err != nil {
		t.Error(err)
	}
	if err := k.DeleteGroup(ctx, "dash.board-1_a"); !errors.Is(err, fault.GenericNotFound) {
		t.Error(err)
	}
}

// TestReadings follows the places at one partition; what happens on the wire
// is tested with the surface.
func TestReadings(t *testing.T) {
	k := open(t)
	ctx := context.Background()
	var lost []string
	join := func(name, group string, epoch int64) (*hub.Reading, error) {
		return k.JoinGroup(ctx, group, 0, epoch, func(why *fault.Error) {
			if why.Code != fault.LinkCreationConflict {
				t.Errorf("%s is lost for %v", name, why)
			}
			lost = append(lost, name)
		})
	}
	must := func(name, group string, epoch int64) *hub.Reading {
		t.Helper()
		r, err := join(name, group, epoch)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	var shared []*hub.Reading
	for n := range 5 {
		shared = append(shared, must(fmt.Sprint("s", n), "$Default", hub.NoEpoch))
	}
	if _, err := join("sixth", "$default", hub.NoEpoch); !errors.Is(err, hub.ErrTooManyReaders) {
		t.Error(err)
	}
	must("other group", "other", hub.NoEpoch)
	shared[0].Leave()
	shared[0].Leave()
	must("s5", "$Default", hub.NoEpoch)
	one := must("one", "$DEFAULT", 1)
	if got := strings.Join(lost, " "); got != "s1 s2 s3 s4 s5" {
		t.Errorf("lost are %s", got)
	}
	lost = nil
	for name, epoch := range map[string]int64{"lower": 0, "none": hub.NoEpoch} {
		if _, err := join(name, "$Default", epoch); !errors.Is(err, fault.LinkCreationConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	again := must("again", "$Default", 1)
	one.Leave() // of one that was displaced: takes nothing from the other
	if _, err := join("lower", "$Default", 0); !errors.Is(err, fault.LinkCreationConflict) {
		t.Error(err)
	}
	if got := strings.Join(lost, " "); got != "one" {
		t.Errorf("lost are %s", got)
	}
	again.Leave()
	must("after all", "$Default", hub.NoEpoch)
	if _, err := k.JoinGroup(ctx, "$Default", 4, 0, nil); !errors.Is(err, fault.PartitionNotFound) {
		t.Error(err)
	}
}
