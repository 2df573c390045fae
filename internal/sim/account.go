package sim

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/nave-hub/nave/internal/fault"
)

// Account is the configuration of a platform account (connectivity-api 10.3).
type Account struct {
	Account   string    `json:"account"`
	Platform  string    `json:"platform"` // reference, prefix of product ids
	Adapter   string    `json:"adapter"`  // embedded, http
	AccountID string    `json:"accountId"`
	Enabled   bool      `json:"enabled"`
	Mode      Mode      `json:"statusChangeMode"`
	Settable  []Status  `json:"settableStatus"`
	Embedded  *Embedded `json:"embedded,omitempty"` // of adapter embedded
	HTTP      *Remote   `json:"http,omitempty"`     // of adapter http
}

// Embedded are the settings of an account at the platform inside the hub.
type Embedded struct {
	Enforce           *bool `json:"enforce,omitempty"`                  // RP-6, default true
	ProvisioningDelay int   `json:"provisioningDelaySeconds,omitempty"` // RP-3, default 0
	AsyncDelay        int   `json:"asyncDelayMs,omitempty"`             // RP-14
}

// Remote are the settings of an account at a remote platform that speaks this
// API; ClientSecret is stored encrypted and never shown (HA-1).
type Remote struct {
	BaseURL           string            `json:"baseUrl"`
	TokenURL          string            `json:"tokenUrl"`
	ClientID          string            `json:"clientId"`
	ClientSecret      string            `json:"clientSecret,omitempty"`
	TimeoutMS         int               `json:"timeoutMs"`           // 30000
	TotalTimeoutMS    int               `json:"totalTimeoutMs"`      // 60000
	RequestsPerSecond int               `json:"requestsPerSecond"`   // 10
	MaxParallel       int               `json:"maxParallel"`         // 8
	SyncInterval      int               `json:"syncIntervalSeconds"` // 900
	ErrorMode         string            `json:"errorMode"`           // passthrough, normalise
	StatusMap         map[string]Status `json:"statusMap,omitempty"`
	Quirks            []Quirk           `json:"quirks,omitempty"`
	Authority         string            `json:"authority,omitempty"`    // PEM, HA-11
	Capabilities      []Capability      `json:"capabilities,omitempty"` // STATUS, USAGE and DATA_SESSION
}

// Quirk gives a class to an answer of a platform (HA-13).
type Quirk struct {
	Status      int    `json:"status"`
	BodyPattern string `json:"bodyPattern"` // regular expression
	Class       Class  `json:"class"`
}

// Words of Account.Adapter and Remote.ErrorMode.
const (
	AdapterEmbedded = "embedded"
	AdapterHTTP     = "http"
	Passthrough     = "passthrough"
	Normalise       = "normalise"
)

// PlatformView is a platform account as the API shows it (section 6.8).
type PlatformView struct {
	Account      string       `json:"account"`
	Platform     string       `json:"platform"`
	Adapter      string       `json:"adapter"`
	AccountID    string       `json:"accountId"`
	Enabled      bool         `json:"enabled"`
	Mode         Mode         `json:"statusChangeMode"`
	Settable     []Status     `json:"settableStatus"`
	Capabilities []Capability `json:"capabilities"`
	Health       Health       `json:"health"`
}

// Health says how an account is; State is OK, DEGRADED, DOWN or UNKNOWN.
type Health struct {
	State            string  `json:"state"`
	LastSuccess      Time    `json:"lastSuccess"`
	LastFailure      Time    `json:"lastFailure"`
	LastFailureClass *string `json:"lastFailureClass"`
	ProductCount     int     `json:"productCount"`
}

var (
	accountForm   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	referenceForm = regexp.MustCompile(`^[A-Z0-9]{2,16}$`)
)

// withDefaults fills what the configuration leaves out.
func (a Account) withDefaults() Account {
	if a.Mode == "" {
		a.Mode = Sync
	}
	if len(a.Settable) == 0 {
		a.Settable = slices.Clone(SettableStatuses)
	}
	switch a.Adapter {
	case AdapterEmbedded:
		if a.AccountID == "" {
			a.AccountID = "local"
		}
		if a.Embedded == nil {
			a.Embedded = &Embedded{}
		}
	case AdapterHTTP:
		if a.HTTP != nil {
			a.HTTP = a.HTTP.withDefaults()
		}
	}
	return a
}

func (r *Remote) withDefaults() *Remote {
	c := *r
	for _, d := range []struct {
		field *int
		value int
	}{{&c.TimeoutMS, 30000}, {&c.TotalTimeoutMS, 60000}, {&c.RequestsPerSecond, 10}, {&c.MaxParallel, 8}, {&c.SyncInterval, 900}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.ErrorMode == "" {
		c.ErrorMode = Passthrough
	}
	if c.Capabilities == nil {
		c.Capabilities = []Capability{CanStatus, CanUsage, CanDataSession}
	}
	return &c
}

// check answers SIMValidationFailed with every issue.
func (a *Account) check() error {
	var all []Issue
	bad := func(pointer, detail string) {
		all = append(all, Issue{In: "body", Pointer: pointer, Code: "invalid_value", Detail: detail})
	}
	for _, n := range []struct{ pointer, value string }{{"/account", a.Account}, {"/platform", a.Platform}, {"/adapter", a.Adapter}} {
		if n.value == "" {
			all = append(all, Issue{In: "body", Pointer: n.pointer, Code: "required", Detail: "Must be given."})
		}
	}
	if a.Account != "" && !accountForm.MatchString(a.Account) {
		bad("/account", "An account name has 1 to 64 letters, digits, '_' and '-'.")
	}
	if a.Platform != "" && !referenceForm.MatchString(a.Platform) {
		bad("/platform", "A platform reference has 2 to 16 upper-case letters and digits.")
	}
	if a.Mode != Sync && a.Mode != Async {
		bad("/statusChangeMode", "Must be SYNC or ASYNC.")
	}
	for n, s := range a.Settable {
		switch {
		case !s.Settable():
			bad(fmt.Sprintf("/settableStatus/%d", n), "Is no status that can be requested.")
		case slices.Contains(a.Settable[:n], s):
			bad(fmt.Sprintf("/settableStatus/%d", n), "Stands in the list twice.")
		}
	}
	switch {
	case a.Adapter == "":
	case adapters[a.Adapter] == nil && a.Adapter != AdapterHTTP:
		bad("/adapter", "Must be embedded or http.")
	case a.Adapter == AdapterHTTP && a.HTTP == nil:
		all = append(all, Issue{In: "body", Pointer: "/http", Code: "required", Detail: "An account of adapter http needs it."})
	case a.Adapter == AdapterHTTP:
		all = append(all, a.HTTP.issues()...)
	case a.Embedded.ProvisioningDelay < 0 || a.Embedded.AsyncDelay < 0:
		bad("/embedded", "A delay cannot be negative.")
	}
	return invalid(all)
}

func (r *Remote) issues() (all []Issue) {
	need := func(pointer, value string) {
		if value == "" {
			all = append(all, Issue{In: "body", Pointer: "/http/" + pointer, Code: "required", Detail: "Must be given."})
		}
	}
	need("baseUrl", r.BaseURL)
	need("tokenUrl", r.TokenURL)
	need("clientId", r.ClientID)
	need("clientSecret", r.ClientSecret)
	for _, n := range []struct {
		name  string
		value int
	}{{"timeoutMs", r.TimeoutMS}, {"totalTimeoutMs", r.TotalTimeoutMS}, {"requestsPerSecond", r.RequestsPerSecond}, {"maxParallel", r.MaxParallel},
		{"syncIntervalSeconds", r.SyncInterval}} {
		if n.value < 0 {
			all = append(all, Issue{In: "body", Pointer: "/http/" + n.name, Code: "out_of_range", Detail: "Cannot be negative."})
		}
	}
	if r.ErrorMode != Passthrough && r.ErrorMode != Normalise {
		all = append(all, Issue{In: "body", Pointer: "/http/errorMode", Code: "invalid_value", Detail: "Must be passthrough or normalise."})
	}
	for n, c := range r.Capabilities {
		if !slices.Contains(capabilities, c) || slices.Contains(r.Capabilities[:n], c) {
			all = append(all, Issue{In: "body", Pointer: fmt.Sprintf("/http/capabilities/%d", n), Code: "invalid_value", Detail: "Is no capability, or stands in the list twice."})
		}
	}
	for _, q := range r.Quirks {
		if _, err := regexp.Compile(q.BodyPattern); err != nil {
			all = append(all, Issue{In: "body", Pointer: "/http/quirks", Code: "invalid_value", Detail: "A bodyPattern is no regular expression."})
		}
	}
	return all
}

// invalid returns SIMValidationFailed with the issues, nil when there are none.
func invalid(all []Issue) error {
	if len(all) == 0 {
		return nil
	}
	noun := "problems"
	if len(all) == 1 {
		noun = "problem"
	}
	e := fault.SIMValidationFailed.New("%d %s in the request.", len(all), noun)
	e.Detail = map[string]any{DetailIssues: all[:min(len(all), 50)]}
	return e
}
