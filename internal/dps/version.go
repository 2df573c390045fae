package dps

import (
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// Version is an api-version: its date, and whether it is a preview (dps 1.4).
type Version struct {
	Day     string // 2019-03-31
	Preview bool
}

// Range of accepted versions, and those from which behaviour changes.
const (
	oldestVersion   = "2017-08-31"
	newestVersion   = "2026-11-15"
	policyVersion   = "2018-09-01" // reprovision policies and custom allocation
	substatusShown  = "2019-04-15"
	legacyCSRDay    = "2021-11-01"
	fallbackVersion = "2019-03-31" // AMQP links that name none
)

// DefaultVersion is what AMQP links without an api-version are taken for.
var DefaultVersion = Version{Day: fallbackVersion}

// ParseVersion reads an api-version; InvalidProtocolVersion for one that is
// missing, malformed or outside of the accepted range.
func ParseVersion(text string) (Version, error) {
	day, preview := strings.CutSuffix(text, "-preview")
	if _, err := time.Parse(time.DateOnly, day); err != nil {
		return Version{}, fault.DPSInvalidProtocolVersion.New("the api-version %q is missing or malformed, such as 2021-10-01", text)
	}
	if day < oldestVersion || day > newestVersion {
		return Version{}, fault.DPSInvalidProtocolVersion.New("the api-version %s is not served, %s to %s are", text, oldestVersion, newestVersion)
	}
	return Version{Day: day, Preview: preview}, nil
}

// String returns the version as clients write it.
func (v Version) String() string {
	if v.Preview {
		return v.Day + "-preview"
	}
	return v.Day
}

// hasPolicies says whether reprovision policies hold: older clients stay where
// they are.
func (v Version) hasPolicies() bool { return v.Day >= policyVersion }

func (v Version) showsSubstatus() bool { return v.Day >= substatusShown }
func (v Version) legacyCSR() bool      { return v.Day == legacyCSRDay && v.Preview }
