package dps

import (
	"context"
	"errors"
	"strings"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// Right is a set of permissions on the service API (dps 3.1).
type Right uint8

// The permissions.
const (
	ServiceConfig Right = 1 << iota
	EnrollmentRead
	EnrollmentWrite
	RegistrationRead  // RegistrationStatusRead
	RegistrationWrite // RegistrationStatusWrite
	DeviceConnect     // known, without effect
)

const allRights = ServiceConfig | EnrollmentRead | EnrollmentWrite | RegistrationRead | RegistrationWrite | DeviceConnect

var rightNames = []string{"ServiceConfig", "EnrollmentRead", "EnrollmentWrite", "RegistrationStatusRead", "RegistrationStatusWrite", "DeviceConnect"}

// Has says whether all permissions of want are in r.
func (r Right) Has(want Right) bool { return r&want == want }

// String returns the names, separated by comma and blank.
func (r Right) String() string {
	var names []string
	for i, name := range rightNames {
		if r.Has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// ParseRight reads names separated by commas, without regard to case;
// ArgumentInvalid.
func ParseRight(text string) (r Right, err error) {
	for word := range strings.SplitSeq(text, ",") {
		known := Right(0)
		for i, name := range rightNames {
			if strings.EqualFold(strings.TrimSpace(word), name) {
				known = 1 << i
			}
		}
		if known == 0 {
			return 0, fault.DPSArgumentInvalid.New("the right %q is unknown, known are %s", brief(word), strings.Join(rightNames, ", "))
		}
		r |= known
	}
	return r, nil
}

// MarshalText writes the names.
func (r Right) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseRight; an empty text is no right.
func (r *Right) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*r = 0
		return nil
	}
	*r, err = ParseRight(string(text))
	return err
}

// Policy is a shared access policy of the instance (dps 3.11). Its row has the
// name as key; keys in it are sealed for the place policy/<key>.
type Policy struct {
	Name      string `json:"keyName"`
	Primary   string `json:"primaryKey,omitzero"`
	Secondary string `json:"secondaryKey,omitzero"`
	Rights    Right  `json:"rights"`
}

// OwnerPolicy is the policy with all rights that every instance starts with.
const OwnerPolicy = "provisioningserviceowner"

// seedPolicy adds the default policy with new keys when there is none at all.
func (s *Service) seedPolicy(tx *store.Tx) error {
	n, err := tx.CountDPS(KindPolicy)
	if err != nil || n > 0 {
		return err
	}
	row, err := s.policyRow(&Policy{Name: OwnerPolicy, Primary: cred.NewLongKey(), Secondary: cred.NewLongKey(), Rights: allRights})
	if err != nil {
		return err
	}
	if err = tx.InsertDPS(row); errors.Is(err, store.ErrExists) {
		return nil // another node was first
	}
	return err
}

// policyRow returns the row to store p in.
func (s *Service) policyRow(p *Policy) (*store.DPSRow, error) {
	place := KindPolicy + "/" + key(p.Name)
	closed := Policy{p.Name, s.seal.Seal(place, p.Primary), s.seal.Seal(place, p.Secondary), p.Rights}
	return newRow(KindPolicy, key(p.Name), &closed)
}

// openPolicy returns what the row of a policy holds, with keys open.
func (s *Service) openPolicy(row *store.DPSRow) (p *Policy, err error) {
	if p, err = decodeRow[Policy](row); err != nil {
		return nil, err
	}
	for _, text := range []*string{&p.Primary, &p.Secondary} {
		if *text, err = s.seal.Open(KindPolicy+"/"+row.Key, *text); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// policy returns the policy of a token; one without keys when there is none of
// that name.
func (s *Service) policy(ctx context.Context, name string) (*Policy, error) {
	p := &Policy{}
	err := s.db.View(ctx, func(tx *store.Tx) error {
		row, err := tx.DPS(KindPolicy, key(name))
		if errors.Is(err, store.ErrNone) {
			return nil
		}
		if err == nil {
			p, err = s.openPolicy(row)
		}
		return err
	})
	return p, translated(err)
}

// OwnerConnection returns the service connection string of the default policy;
// IotHubUnauthorizedAccess when it was removed.
func (s *Service) OwnerConnection(ctx context.Context) (string, error) {
	p, err := s.policy(ctx, OwnerPolicy)
	if err != nil {
		return "", err
	}
	if p.Name == "" {
		return "", fault.DPSIotHubUnauthorizedAccess.New("the policy %s was removed", OwnerPolicy)
	}
	return "HostName=" + s.o.Host + ";SharedAccessKeyName=" + p.Name + ";SharedAccessKey=" + p.Primary, nil
}
