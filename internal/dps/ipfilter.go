package dps

import (
	"context"
	"errors"
	"net/netip"

	"github.com/nave-hub/nave/internal/fault"
)

// FilterRule admits or refuses callers by address; of the rules for a surface
// the first that matches decides, and who matches none is admitted (dps 3.11).
type FilterRule struct {
	Name   string `json:"filterName"`
	Action string `json:"action"` // Accept or Reject
	Mask   string `json:"ipMask"` // CIDR, or one address
	Target string `json:"target"` // all, serviceApi or deviceApi
}

// The values of FilterRule.Target.
const (
	filterAll     = "all"
	filterService = "serviceApi"
	filterDevice  = "deviceApi"
)

const (
	filterAccept = "Accept"
	filterReject = "Reject"
	maxFilters   = 100
)

func (f *FilterRule) check() (err error) {
	if f.Name == "" || len(f.Name) > 128 {
		return fault.DPSArgumentInvalid.New("filterName has %d bytes, 1 to 128 are allowed", len(f.Name))
	}
	if f.Action, err = canonical("action of the IP filter rule "+brief(f.Name), f.Action, filterAccept, filterReject); err != nil {
		return err
	}
	if f.Target == "" {
		f.Target = filterAll
	}
	if f.Target, err = canonical("target of the IP filter rule "+brief(f.Name), f.Target, filterAll, filterService, filterDevice); err != nil {
		return err
	}
	if _, err := f.prefix(); err != nil {
		return fault.DPSArgumentInvalid.Wrap(err, "ipMask of the IP filter rule %s is %q, an address or a CIDR such as 10.0.0.0/8 is allowed", brief(f.Name), brief(f.Mask))
	}
	return nil
}

// prefix parses the mask.
func (f *FilterRule) prefix() (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(f.Mask); err == nil {
		return addr.Unmap().Prefix(addr.Unmap().BitLen())
	}
	p, err := netip.ParsePrefix(f.Mask)
	if err == nil && p.Addr().Is4In6() {
		err = errors.New("an IPv4 network is written without ::ffff:")
	}
	return p, err
}

// filter is a rule made ready.
type filter struct {
	net    netip.Prefix
	target string
	accept bool
}

// filters makes the rules of a stored instance ready.
func filters(rules []*FilterRule) (all []filter) {
	for _, f := range rules {
		if net, err := f.prefix(); err == nil { // as it was when it was stored
			all = append(all, filter{net.Masked(), f.Target, f.Action == filterAccept})
		}
	}
	return all
}

// screen answers GenericForbidden to a caller that the IP filter refuses, and
// to devices while the instance is suspended.
func (s *Service) screen(ctx context.Context, remote, target string) error {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	if snap.suspended && target == filterDevice {
		return fault.DPSGenericForbidden.New("the provisioning service is suspended by its operator")
	}
	if len(snap.filters) == 0 || snap.admits(remote, target) {
		return nil
	}
	return fault.DPSGenericForbidden.New("the IP filter of the provisioning service refuses the address of the caller")
}

// admits judges an address, with or without port; one that cannot be read only
// passes where no rule refuses anybody.
func (n *snapshot) admits(remote, target string) bool {
	addr, err := netip.ParseAddr(remote)
	if err != nil {
		port, failed := netip.ParseAddrPort(remote)
		addr, err = port.Addr(), failed
	}
	addr = addr.Unmap().WithZone("")
	for _, f := range n.filters {
		switch {
		case f.target != filterAll && f.target != target:
			continue
		case err != nil && !f.accept:
			return false
		case err == nil && f.net.Contains(addr):
			return f.accept
		}
	}
	return true
}
