package hub

import (
	"context"
	"errors"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/store"
)

// DefaultGroup is the consumer group that always exists.
const DefaultGroup = "$Default"

// Limits of consumer groups (service-api 4.6).
const (
	maxGroups    = 20 // besides the default one
	maxGroupName = 50
)

var (
	opGroups     = gate.Op{Name: "group.list", Right: nave.ServiceConnect}
	opGroupWrite = gate.Op{Name: "group.write", Right: nave.RegistryWrite}
)

// Groups returns the names of the consumer groups, the default one first.
func (b *Backend) Groups(ctx context.Context) (names []string, err error) {
	if err := b.enter(ctx, nave.ID{}, &opGroups, 0); err != nil {
		return nil, err
	}
	err = b.hub.db.View(ctx, func(tx *store.Tx) error { names, err = tx.Groups(); return err })
	return append([]string{DefaultGroup}, names...), storeFault(err)
}

// Group returns the name of a consumer group as it was created, found without
// regard to case; false when there is none.
func (b *Backend) Group(ctx context.Context, name string) (string, bool, error) {
	if strings.EqualFold(name, DefaultGroup) {
		return DefaultGroup, true, nil
	}
	all, err := b.Groups(ctx)
	if err != nil {
		return "", false, err
	}
	have, ok := sameGroup(all, name)
	return have, ok, nil
}

func sameGroup(all []string, name string) (string, bool) {
	for _, have := range all {
		if strings.EqualFold(have, name) {
			return have, true
		}
	}
	return "", false
}

// CreateGroup adds a consumer group; one that exists is fine. ArgumentInvalid:
// a name that is none, or more than 20 groups besides the default one.
func (b *Backend) CreateGroup(ctx context.Context, name string) error {
	if err := b.enter(ctx, nave.ID{}, &opGroupWrite, 0); err != nil {
		return err
	}
	if err := checkGroup(name); err != nil {
		return err
	}
	return storeFault(b.hub.db.Update(ctx, func(tx *store.Tx) error {
		all, err := tx.Groups()
		if err != nil {
			return err
		}
		if _, ok := sameGroup(append(all, DefaultGroup), name); ok {
			return nil
		}
		if len(all) >= maxGroups {
			return fault.ArgumentInvalid.Over("consumer groups", maxGroups, len(all)+1, "the hub has too many consumer groups")
		}
		return tx.PutGroup(name)
	}))
}

// checkGroup answers ArgumentInvalid for what is no name of a consumer group:
// letters, digits, period, hyphen and underscore, 1 to 50 characters, the first
// a letter or digit.
func checkGroup(name string) error {
	if strings.EqualFold(name, DefaultGroup) {
		return nil
	}
	bad := name == "" || len(name) > maxGroupName || strings.IndexByte(".-_", name[0]) >= 0
	for i := 0; i < len(name); i++ {
		c := name[i]
		bad = bad || !(c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte(".-_", c) >= 0)
	}
	if bad {
		return fault.ArgumentInvalid.New("%q is no name of a consumer group: 1 to %d letters, digits, '.', '-' and '_', beginning with a letter or digit", brief(name), maxGroupName)
	}
	return nil
}

func brief(text string) string {
	if len(text) > 64 {
		return text[:64] + "…"
	}
	return text
}

// DeleteGroup removes a consumer group and ends its readers. GenericNotFound:
// there is none; ArgumentInvalid: it is the default one.
func (b *Backend) DeleteGroup(ctx context.Context, name string) error {
	if err := b.enter(ctx, nave.ID{}, &opGroupWrite, 0); err != nil {
		return err
	}
	if strings.EqualFold(name, DefaultGroup) {
		return fault.ArgumentInvalid.New("the consumer group %s can't be deleted", DefaultGroup)
	}
	err := b.hub.db.Update(ctx, func(tx *store.Tx) error {
		all, err := tx.Groups()
		if err != nil {
			return err
		}
		have, ok := sameGroup(all, name)
		if !ok {
			return store.ErrNone
		}
		tx.After(func() { b.hub.groupGone(have) })
		return tx.DeleteGroup(have)
	})
	if errors.Is(err, store.ErrNone) {
		return fault.GenericNotFound.New("the hub has no consumer group %q", brief(name))
	}
	return storeFault(err)
}
