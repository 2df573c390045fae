package node

import "testing"

func TestHousekeeping(t *testing.T) {
	k := &housekeeping{}
	for _, step := range []struct {
		allocated uint64
		want      bool
		what      string
	}{
		{100 << 20, false, "busy"},
		{101 << 20, true, "quiet after much"},
		{102 << 20, false, "quiet after little"},
		{200 << 20, false, "busy again"},
		{200<<20 + 1, true, "quiet again"},
	} {
		if got := k.due(step.allocated); got != step.want {
			t.Errorf("%s: %t", step.what, got)
		}
	}
}
