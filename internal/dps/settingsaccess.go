package dps

import (
	"cmp"
	"context"
	"strings"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

var (
	opSettingsRead   = newOp("settings.read", ServiceConfig)
	opSettingsWrite  = newOp("settings.write", ServiceConfig)
	opSettingsDelete = newOp("settings.delete", ServiceConfig)
)

var profiles = &resource[Settings]{KindSettings, "the provisioning settings",
	Faults{fault.DPSProvisioningSettingsNotFound, fault.DPSProvisioningSettingsConflict}, func(p *Settings) *string { return &p.ETag }}

// Limits of settings.
const (
	maxProfiles   = 200
	maxPriority   = 1_000_000
	maxAppliesTo  = 1000
	maxRate       = 10_000_000
	maxRetention  = 90 * 24 * 60 // minutes
	maxWebhook    = 120          // seconds
	mostGroups    = 10_000
	maxEnrolments = 10_000_000
)

// ParseSettings reads a profile of provisioning settings as clients send it and
// checks every value (dps 6.4); DeserializationError, ArgumentInvalid.
func ParseSettings(b []byte) (*Settings, error) {
	p := &Settings{}
	if err := Decode(b, p); err != nil {
		return nil, err
	}
	if p.Policy != "" {
		var err error
		if p.Policy, err = canonical("allocationPolicy", p.Policy, AllocateHashed, AllocateGeo, AllocateStatic); err != nil {
			return nil, err
		}
	}
	for _, list := range []struct {
		name string
		ids  []string
		bad  func(string) error
	}{{"appliesTo.enrollments", p.AppliesTo.Enrollments, CheckRegistrationID}, {"appliesTo.enrollmentGroups", p.AppliesTo.Groups, CheckGroupID}} {
		if err := between("the number of "+list.name, len(list.ids), 0, maxAppliesTo); err != nil {
			return nil, err
		}
		for _, id := range list.ids {
			if err := list.bad(id); err != nil {
				return nil, err
			}
		}
	}
	return p, p.check()
}

// check refuses numbers out of range; 0 means the default.
func (p *Settings) check() error {
	for _, n := range []struct {
		name               string
		value, least, most int
	}{
		{"priority", p.Priority, 0, maxPriority},
		{"retryAfterSeconds", p.RetryAfter, 2, 300},
		{"operationRetentionMinutes", p.Retention, 10, maxRetention},
		{"certificateValidityDays", p.Validity, 1, maxValidity},
		{"limits.registrationsPerMinute", p.Limits.Registrations, 1, maxRate},
		{"limits.serviceOperationsPerMinute", p.Limits.Service, -1, maxRate},
		{"limits.pollsPer10Seconds", p.Limits.Polls, -1, maxRate},
		{"limits.maxEnrollments", p.Limits.Enrollments, 1, maxEnrolments},
		{"limits.maxGroups", p.Limits.Groups, 1, mostGroups},
		{"webhook.timeoutSeconds", p.Webhook.Timeout, 1, maxWebhook},
	} {
		if n.value == 0 {
			continue
		}
		if err := between(n.name, n.value, n.least, n.most); err != nil {
			return err
		}
	}
	if p.Webhook.CA != "" {
		if _, err := cred.ParseCertificates([]byte(p.Webhook.CA)); err != nil {
			return fault.DPSArgumentInvalid.Wrap(err, "webhook.caCertificate: %s", err)
		}
	}
	return nil
}

// shown is p as answers have it: the default profile with all values in force.
func (p *Settings) shown() *Settings {
	if !strings.EqualFold(p.ID, DefaultSettings) {
		return p
	}
	n := *p
	n.Policy = cmp.Or(p.Policy, AllocateHashed)
	if n.Reprov == nil {
		n.Reprov = &ReprovisionPolicy{UpdateHub: true, MigrateData: true}
	}
	n.RetryAfter, n.Retention = int(p.retryAfter().Seconds()), int(p.retention().Minutes())
	n.Limits.Service, n.Limits.Polls = p.serviceLimit(), p.pollLimit()
	n.Limits.Enrollments, n.Limits.Groups = p.enrollmentLimit(), p.groupLimit()
	n.Webhook.Timeout = int(p.webhookTimeout().Seconds())
	n.Validity = cmp.Or(p.Validity, defaultValidity)
	return &n
}

// findSettings returns a profile; the default one is there even when it was
// never stored. ProvisioningSettingsNotFound.
func findSettings(tx *store.Tx, id string) (*Settings, error) {
	p, err := profiles.find(tx, id)
	if err == nil && p == nil && strings.EqualFold(id, DefaultSettings) {
		return &Settings{ID: DefaultSettings, ETag: unmarked}, nil
	}
	if err == nil && p == nil {
		err = profiles.faults.None.New("%s does not exist", profiles.called(id))
	}
	return p, err
}

// Settings returns a profile of provisioning settings (dps 6.4), of the default
// one all values in force; ProvisioningSettingsNotFound.
func (a *Access) Settings(ctx context.Context, id string) (p *Settings, err error) {
	if err := a.enter(ctx, opSettingsRead, id); err != nil {
		return nil, err
	}
	err = a.view(ctx, func(tx *store.Tx) error { p, err = findSettings(tx, id); return err })
	if err != nil {
		return nil, err
	}
	return p.shown(), nil
}

// SettingsProfiles returns a page of the profiles, in the order of ids.
func (a *Access) SettingsProfiles(ctx context.Context, token string, limit int) ([]*Settings, string, error) {
	all, next, err := pages(ctx, a, opSettingsRead, profiles.listed("provisioningSettings", (*Settings).shown), token, limit)
	if err != nil || token != "" || next != "" {
		return all, next, err
	}
	for _, p := range all {
		if strings.EqualFold(p.ID, DefaultSettings) {
			return all, next, nil
		}
	}
	standard := &Settings{ID: DefaultSettings, ETag: unmarked}
	return append([]*Settings{standard.shown()}, all...), next, nil
}

// PutSettings creates or replaces a profile that ParseSettings has read. It
// answers ProvisioningSettingsConflict, also for a priority that another
// profile for the same enrolment has; ProvisioningSettingsNotFound,
// PreconditionFailed, ArgumentInvalid.
func (a *Access) PutSettings(ctx context.Context, id string, p *Settings, m Match) (*Settings, error) {
	if err := a.enter(ctx, opSettingsWrite, id); err != nil {
		return nil, err
	}
	if err := checkResourceID("provisioning settings", id); err != nil {
		return nil, err
	}
	if err := sameName("id", id, p.ID); err != nil {
		return nil, err
	}
	standard := strings.EqualFold(id, DefaultSettings)
	if standard && (len(p.AppliesTo.Enrollments)+len(p.AppliesTo.Groups) > 0 || p.Priority != 0) {
		return nil, fault.DPSArgumentInvalid.New("the default settings have neither appliesTo nor priority: they hold wherever no other profile does")
	}
	if !standard && p.Limits != (SettingsLimits{}) {
		return nil, fault.DPSArgumentInvalid.New("limits hold for the whole instance; set them in the default settings")
	}
	var n Settings
	err := a.update(ctx, func(tx *store.Tx) error {
		before, err := profiles.find(tx, id)
		if err != nil {
			return err
		}
		tag := profiles.tag(before)
		if standard {
			tag = cmp.Or(tag, unmarked)
		}
		if err := m.Put(p.ETag, tag, profiles.faults, profiles.called(id)); err != nil {
			return err
		}
		n = *p
		n.ID = id
		if before != nil {
			n.ID = before.ID
		} else if err := profiles.room(tx, maxProfiles, "profiles"); err != nil {
			return err
		}
		if err := checkPriority(tx, &n); err != nil {
			return err
		}
		a.s.changed(tx, KindSettings)
		return profiles.put(tx, id, &n, before == nil)
	})
	if err != nil {
		return nil, err
	}
	return n.shown(), nil
}

// checkPriority answers ProvisioningSettingsConflict when two profiles claim an
// enrolment with the same priority.
func checkPriority(tx *store.Tx, p *Settings) error {
	return profiles.every(tx, func(other *Settings) error {
		if strings.EqualFold(other.ID, p.ID) || other.Priority != p.Priority {
			return nil
		}
		for _, pair := range [][2][]string{{p.AppliesTo.Enrollments, other.AppliesTo.Enrollments}, {p.AppliesTo.Groups, other.AppliesTo.Groups}} {
			for _, id := range pair[0] {
				if named(id, pair[1]...) {
					return fault.DPSProvisioningSettingsConflict.New("the profile %s claims %s with the same priority %d", other.ID, id, p.Priority)
				}
			}
		}
		return nil
	})
}

// DeleteSettings removes a profile; ProvisioningSettingsNotFound,
// PreconditionFailed, ProvisioningSettingsConflict for the default one and
// while a group record names it.
func (a *Access) DeleteSettings(ctx context.Context, id string, m Match) error {
	if err := a.enter(ctx, opSettingsDelete, id); err != nil {
		return err
	}
	if strings.EqualFold(id, DefaultSettings) {
		return fault.DPSProvisioningSettingsConflict.New("the default settings cannot be deleted, only replaced")
	}
	return a.update(ctx, func(tx *store.Tx) error {
		if _, err := profiles.toDelete(tx, id, m); err != nil {
			return err
		}
		err := groupRecords.every(tx, func(r *GroupRecord) error {
			if strings.EqualFold(r.SettingsID, id) {
				return fault.DPSProvisioningSettingsConflict.New("%s are named by the group record %s", profiles.called(id), r.ID)
			}
			return nil
		})
		if err != nil {
			return err
		}
		a.s.changed(tx, KindSettings)
		return tx.DeleteDPS(KindSettings, key(id))
	})
}
