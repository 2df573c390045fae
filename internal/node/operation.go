package node

import (
	"slices"

	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/sim"
)

// Operations returns the names of all operations of a hub in order, as
// fault-injection rules and usage call them.
func Operations() []string {
	return slices.Sorted(slices.Values(slices.Concat(hub.Operations(), control.Operations(), sim.Operations())))
}
