package sim

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nave-hub/nave/internal/store"
)

// broken is the platform of an account that cannot be used as it is stored: its
// secret was sealed with another key, or its configuration is no longer valid.
// Every call fails, so that the account is shown as down, and the others work.
type broken struct {
	is  Description
	why *PlatformError
}

// unusable makes the account of a row that adapt has refused.
func (t *Tenant) unusable(row *store.SIMAccount, why error) (*account, error) {
	a := &account{row: row, health: *row, unmapped: map[string]string{}, parallel: make(chan struct{}, 1)}
	if err := json.Unmarshal([]byte(row.Doc), &a.Account); err != nil {
		return nil, err
	}
	a.Account = a.Account.withDefaults()
	a.health.Next = time.Time{}
	a.platform = &broken{Description{Reference: a.Platform, Account: a.Account.Account, AccountID: a.AccountID, Adapter: a.Adapter, Mode: a.Mode, Settable: a.Settable},
		&PlatformError{Class: ClassCredentials, Detail: "The stored account cannot be used, put its configuration with its secret anew: " + why.Error()}}
	return a, nil
}

func (b *broken) Describe() Description                                { return b.is }
func (b *broken) List(context.Context, string) (Page, error)           { return Page{}, b.why }
func (b *broken) Get(context.Context, string) (*Record, error)         { return nil, b.why }
func (b *broken) Reset(context.Context, string) (Outcome, error)       { return Outcome{}, b.why }
func (b *broken) Location(context.Context, string) (Location, error)   { return Location{}, b.why }
func (b *broken) Probe(context.Context) error                          { return b.why }
func (b *broken) Poll(_ context.Context, _, _ string) (Outcome, error) { return Outcome{}, b.why }

func (b *broken) SetStatus(context.Context, string, Status, string) (Outcome, error) {
	return Outcome{}, b.why
}

func (b *broken) Usage(_ context.Context, _ string, _, _ time.Time, _ Granularity) ([]UsageEntry, error) {
	return nil, b.why
}

func (b *broken) DataSessions(context.Context, string, DataSessionQuery) ([]DataSession, error) {
	return nil, b.why
}

func (b *broken) SendSMS(context.Context, string, SMS) (SMSState, error) {
	var none SMSState
	return none, b.why
}
