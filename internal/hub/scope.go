package hub

import (
	"errors"
	"slices"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// maxEdgeLevels is how many edge devices may stand above one another, the
// lowest included (hub-semantics 3).
const maxEdgeLevels = 5

// checkParent answers InvalidDeviceScope when the parent of an edge device is
// unknown, among its own descendants, or already at the lowest level. The
// scopes of other devices are free text (service-api 5.5), and so is a parent
// that stays as it was: it may have been deleted since.
func (h *Hub) checkParent(tx *store.Tx, i, old *nave.Identity) error {
	scope := i.Parent()
	if !i.Edge || scope == "" || old != nil && slices.Equal(old.ParentScopes, i.ParentScopes) {
		return nil
	}
	for level := 2; scope != ""; level++ {
		parent, err := edgeOf(tx, scope)
		switch {
		case err != nil:
			return err
		case parent == nil && level == 2:
			return fault.InvalidDeviceScope.New("the parent %q of edge device %s is the scope of no edge device", scope, i.ID)
		case parent == nil:
			return nil // an ancestor was deleted
		case parent.ID == i.ID:
			return fault.InvalidDeviceScope.New("edge device %s would be its own ancestor", i.ID)
		case level > maxEdgeLevels:
			return fault.InvalidDeviceScope.New("edge device %s would stand below %d others, at most %d levels of edge devices are allowed", i.ID, maxEdgeLevels, maxEdgeLevels)
		}
		scope = parent.Parent()
	}
	return nil
}

// edgeOf returns the edge device that a scope belongs to, nil when there is
// none.
func edgeOf(tx *store.Tx, scope string) (*nave.Identity, error) {
	name := strings.TrimPrefix(scope, nave.EdgeScheme)
	end := strings.LastIndexByte(name, '-')
	if name == scope || end < 1 {
		return nil, nil
	}
	i, err := tx.Identity(nave.ID{Device: name[:end]})
	switch {
	case errors.Is(err, store.ErrNone):
		return nil, nil
	case err != nil:
		return nil, err
	case !i.Edge || i.DeviceScope != scope:
		return nil, nil
	}
	return i, nil
}
