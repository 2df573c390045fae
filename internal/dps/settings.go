package dps

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// DefaultSettings is the profile that always exists.
const DefaultSettings = "default"

// Settings are a profile of tunables (dps 6.4); a zero field has the default.
type Settings struct {
	ID        string             `json:"id"`
	Priority  int                `json:"priority,omitzero"` // the least of the matching profiles decides
	AppliesTo AppliesTo          `json:"appliesTo,omitzero"`
	Policy    string             `json:"allocationPolicy,omitzero"`  // of enrolments that name none
	Reprov    *ReprovisionPolicy `json:"reprovisionPolicy,omitzero"` // of enrolments that name none

	RetryAfter int `json:"retryAfterSeconds,omitzero"`         // 2 to 300, 3
	Retention  int `json:"operationRetentionMinutes,omitzero"` // of finished operations, at least 10; 24 h

	Limits  SettingsLimits  `json:"limits,omitzero"`
	Webhook SettingsWebhook `json:"webhook,omitzero"`

	RequireRecord bool   `json:"requireDeviceRecord,omitzero"` // members of groups need a device record
	Failover      bool   `json:"failoverAllocation,omitzero"`  // another hub may take over from one that is down
	Validity      int    `json:"certificateValidityDays,omitzero"`
	ETag          string `json:"etag,omitzero"`
}

// AppliesTo names the enrolments that a profile is for.
type AppliesTo struct {
	Enrollments []string `json:"enrollments,omitzero"`
	Groups      []string `json:"enrollmentGroups,omitzero"`
}

// SettingsLimits are the throttles and quotas of a profile; those of default
// hold for the instance.
type SettingsLimits struct {
	Registrations int `json:"registrationsPerMinute,omitzero"`     // 0: no limit but the queue
	Service       int `json:"serviceOperationsPerMinute,omitzero"` // 1,000; below 0: no limit
	Polls         int `json:"pollsPer10Seconds,omitzero"`          // per device, 5; below 0: no limit
	Enrollments   int `json:"maxEnrollments,omitzero"`             // 1,000,000
	Groups        int `json:"maxGroups,omitzero"`                  // of each kind, 100
}

// SettingsWebhook says how webhooks are called.
type SettingsWebhook struct {
	Timeout   int    `json:"timeoutSeconds,omitzero"` // 30
	AllowHTTP bool   `json:"allowHttp,omitzero"`      // http URLs and private addresses
	CA        string `json:"caCertificate,omitzero"`  // PEM, in place of the system's roots
}

func (p *Settings) retryAfter() time.Duration {
	return time.Duration(min(max(cmp.Or(p.RetryAfter, 3), 2), 300)) * time.Second
}

func (p *Settings) retention() time.Duration {
	return time.Duration(max(cmp.Or(p.Retention, 24*60), 10)) * time.Minute
}

func (p *Settings) serviceLimit() int { return cmp.Or(p.Limits.Service, 1000) }

func (p *Settings) enrollmentLimit() int { return cmp.Or(p.Limits.Enrollments, 1_000_000) }

func (p *Settings) groupLimit() int { return cmp.Or(p.Limits.Groups, 100) }

func (p *Settings) pollLimit() int { return cmp.Or(p.Limits.Polls, 5) }

func (p *Settings) webhookTimeout() time.Duration {
	return time.Duration(cmp.Or(p.Webhook.Timeout, 30)) * time.Second
}

func (p *Settings) appliesTo(e *Enrollment) bool {
	list := p.AppliesTo.Enrollments
	if e.IsGroup() {
		list = p.AppliesTo.Groups
	}
	return slices.ContainsFunc(list, func(id string) bool { return strings.EqualFold(id, e.ID()) })
}
