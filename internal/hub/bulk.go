package hub

import (
	"context"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/store"
)

var opBulk = gate.Op{Name: "registry.bulk", Right: nave.RegistryWrite, Rate: "registry", Cost: gate.Entries}

// Mode says what a bulk entry does, and whether an etag decides (service-api
// 2.5). The text is compared without case.
type Mode string

// The modes.
const (
	CreateOrUpdate       Mode = "createOrUpdate"
	CreateOnly           Mode = "create"
	CreateOrUpdateIfETag Mode = "createOrUpdateIfMatchETag"
	UpdateOnly           Mode = "update"
	UpdateIfETag         Mode = "updateIfMatchETag"
	DeleteOnly           Mode = "delete"
	DeleteIfETag         Mode = "deleteIfMatchETag"
	UpdateTwin           Mode = "updateTwin"
	UpdateTwinIfETag     Mode = "updateTwinIfMatchETag"
)

var modes = []Mode{CreateOrUpdate, CreateOnly, CreateOrUpdateIfETag, UpdateOnly, UpdateIfETag, DeleteOnly, DeleteIfETag, UpdateTwin, UpdateTwinIfETag}

// ParseMode reads a mode in any case; empty is CreateOrUpdate.
func ParseMode(text string) (Mode, error) {
	if text == "" {
		return CreateOrUpdate, nil
	}
	for _, m := range modes {
		if strings.EqualFold(text, string(m)) {
			return m, nil
		}
	}
	names := make([]string, len(modes))
	for n, m := range modes {
		names[n] = string(m)
	}
	return "", fault.ArgumentInvalid.New("importMode is %q, allowed are %s", brief(text), strings.Join(names, ", "))
}

// BulkItem is one entry of a bulk call.
type BulkItem struct {
	ID       nave.ID
	Mode     Mode
	Patch    *nave.IdentityPatch
	ETag     string      // of the identity
	Twin     *nave.Patch // tags and desired properties, nil when the entry has none
	TwinETag string
}

// BulkError is what became of an entry that failed.
type BulkError struct {
	ID        nave.ID
	Operation Mode
	Why       *fault.Error
}

// Bulk applies entries one after another; those that succeed stay applied
// (service-api 2.5). TooManyDevices: more entries than allowed.
func (b *Backend) Bulk(ctx context.Context, items []BulkItem) ([]BulkError, error) {
	if err := b.enter(ctx, nave.ID{}, &opBulk, len(items)); err != nil {
		return nil, err
	}
	if limit := b.hub.o.Limits.Bulk; len(items) > limit {
		return nil, fault.TooManyDevices.Over("registry.maxBulk", limit, len(items), "the bulk call has too many entries")
	}
	if len(items) == 0 {
		return nil, fault.ArgumentNull.New("the bulk call has no entries")
	}
	times := map[nave.ID]int{}
	for n := range items {
		times[items[n].ID]++
	}
	var failed []BulkError
	for n := range items {
		item := &items[n]
		err := b.hub.known(b.bulkOne(ctx, item, times[item.ID]), item.ID)
		if err != nil {
			failed = append(failed, BulkError{item.ID, item.Mode, fault.From(err)})
		}
	}
	return failed, nil
}

func (b *Backend) bulkOne(ctx context.Context, item *BulkItem, times int) error {
	if times > 1 {
		return fault.DeviceDefinedMultipleTimes.New("%s stands %d times in the call", item.ID, times)
	}
	if err := checkWritable(item.ID); err != nil {
		return err
	}
	return b.hub.db.Update(ctx, func(tx *store.Tx) error { return b.hub.bulk(tx, item) })
}

func (h *Hub) bulk(tx *store.Tx, item *BulkItem) error {
	_, err := h.identity(tx, item.ID)
	exists := err == nil
	match := anyETag
	switch item.Mode {
	case CreateOnly:
		exists = false
	case CreateOrUpdate, CreateOrUpdateIfETag:
		if item.Mode == CreateOrUpdateIfETag && item.ETag != "" {
			match = item.ETag
		}
	case UpdateIfETag, DeleteIfETag:
		if match = item.ETag; match == "" {
			return fault.PreconditionFailed.New("the mode %s needs the eTag of %s", item.Mode, item.ID)
		}
		fallthrough
	default:
		if err != nil {
			return err
		}
	}
	switch item.Mode {
	case DeleteOnly, DeleteIfETag:
		return h.delete(tx, item.ID, match)
	case UpdateTwin, UpdateTwinIfETag:
		return h.bulkTwin(tx, item)
	}
	if exists {
		_, err = h.update(tx, item.ID, item.Patch, match)
		return err
	}
	_, err = h.create(tx, item.ID, item.Patch, item.Twin)
	return err
}

func (h *Hub) bulkTwin(tx *store.Tx, item *BulkItem) error {
	t, err := tx.Twin(item.ID)
	if err != nil {
		return err
	}
	match := item.TwinETag
	switch {
	case item.Mode == UpdateTwin:
		match = anyTwin
	case match == "":
		return fault.PreconditionFailed.New("the mode %s needs the twinETag of %s", item.Mode, item.ID)
	}
	if item.Twin == nil {
		return fault.ArgumentNull.New("the entry of %s has neither tags nor desired properties", item.ID)
	}
	return h.writeTwin(tx, t, *item.Twin, match)
}

// PolicyKey says which key of an identity is to be made anew.
type PolicyKey string

// The keys.
const (
	PrimaryKey   PolicyKey = "primaryKey"
	SecondaryKey PolicyKey = "secondaryKey"
	BothKeys     PolicyKey = "both"
)

// Rotate makes new keys for identities that authenticate by SAS and returns
// them as they are now, with those that failed (service-api 2.6).
func (b *Backend) Rotate(ctx context.Context, key PolicyKey, ids []nave.ID) (done []*nave.Identity, failed []BulkError, err error) {
	if err := b.enter(ctx, nave.ID{}, &opRotate, len(ids)); err != nil {
		return nil, nil, err
	}
	switch limit := b.hub.o.Limits.Bulk; {
	case key != PrimaryKey && key != SecondaryKey && key != BothKeys:
		return nil, nil, fault.InvalidPolicyKey.New("policyKey is %q, allowed are primaryKey, secondaryKey, both", key)
	case len(ids) == 0:
		return nil, nil, fault.ArgumentNull.New("devices is empty, 1 to %d entries are allowed", limit)
	case len(ids) > limit:
		return nil, nil, fault.TooManyDevices.Over("registry.maxBulk", limit, len(ids), "the call names too many devices")
	}
	for _, id := range ids {
		i, err := b.hub.rotate(ctx, key, id)
		if err != nil {
			failed = append(failed, BulkError{ID: id, Why: fault.From(b.hub.known(err, id))})
			continue
		}
		done = append(done, i)
	}
	return done, failed, nil
}

func (h *Hub) rotate(ctx context.Context, key PolicyKey, id nave.ID) (i *nave.Identity, err error) {
	err = h.db.Update(ctx, func(tx *store.Tx) error {
		if i, err = h.identity(tx, id); err != nil {
			return err
		}
		if i.Auth.Type != nave.AuthSAS {
			return fault.InvalidOperation.New("%s authenticates by %s and has no keys", id, i.Auth.Type)
		}
		if key != SecondaryKey {
			i.Auth.Primary = cred.NewKey()
		}
		if key != PrimaryKey {
			i.Auth.Secondary = cred.NewKey()
		}
		i.ETag = nave.NewETag()
		return tx.PutIdentity(i)
	})
	return i, err
}
