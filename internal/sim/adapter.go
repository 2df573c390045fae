package sim

import (
	"log/slog"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// AdapterEnv is what an adapter is made with. Every change of the account makes
// a new adapter; Close of an adapter that has one is called for the old one.
type AdapterEnv struct {
	Tenant  string
	Account Account // with secrets in plain text
	Now     func() time.Time
	Log     *slog.Logger
	// Unmapped hears of a native status that statusMap does not know (HA-8).
	Unmapped func(word string)

	tenant *Tenant // of embedded accounts
}

// Adapter makes the adapter of an account; ArgumentInvalid for settings that
// make no sense.
type Adapter func(AdapterEnv) (Platform, error)

// adapters are the adapter kinds by the word in the account.
var adapters = map[string]Adapter{
	AdapterEmbedded: newEmbedded,
	AdapterHTTP:     newRemote,
}

// newPlatform makes the adapter of an account.
func newPlatform(env AdapterEnv) (Platform, error) {
	a := adapters[env.Account.Adapter]
	if a == nil {
		return nil, fault.ArgumentInvalid.New("the adapter %q is unknown", env.Account.Adapter)
	}
	return a(env)
}
