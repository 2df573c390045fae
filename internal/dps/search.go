package dps

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// A proof that no individual enrolment and no remembered group answers for costs
// a search: the derived keys of all groups (100 by the quota), or up to 100 signatures of certificates.
// What searches in vain is bounded thrice (dps 9.2, risk 10):
//   - the same proof for the same id is refused from memory for refusalLife;
//   - an address may fail failuresBurst times, again as many within
//     failuresWindow; beyond that it gets 429001 without a search;
//   - all addresses together may fail searchesBurst times within
//     searchesWindow.
//
// Devices that are known, by an individual enrolment or by the group they
// belonged to before, are never held up by it.
const (
	refusalLife    = time.Minute
	failuresBurst  = 50
	failuresWindow = 30 * time.Second
	searchesBurst  = 2000
	searchesWindow = 10 * time.Second
)

// everybody names the bucket that all addresses share.
const everybody = "*"

// mark is the start of what the outcome of a search is remembered by: one that
// ends after the catalogue has changed says nothing of the new one.
func (n *snapshot) mark() []byte { return binary.BigEndian.AppendUint64(nil, n.generation) }

// maySearch refuses a proof that was refused before, and an address that has
// failed too often.
func (s *Service) maySearch(c *Claim, proof []byte) error {
	if until, ok := s.refused.get(string(proof)); ok && s.now().Before(until) {
		if c.SAS == "" {
			return refuseCertificate(errors.New("refused before"))
		}
		return refuse(errors.New("refused before"))
	}
	now := s.now()
	wait := s.failures.wait(address(c.Remote), failuresBurst, failuresWindow, now)
	wait = max(wait, s.failures.wait(everybody, searchesBurst, searchesWindow, now))
	if wait > 0 {
		return fault.DPSThrottlingException.New("Operations are being throttled for this tenant. Too many proofs from this address were refused.").RetryAfter(retryAfter(wait))
	}
	return nil
}

// searchFailed counts a search in vain.
func (s *Service) searchFailed(c *Claim, proof []byte) {
	now := s.now()
	s.refused.put(string(proof), now.Add(refusalLife))
	s.failures.take(address(c.Remote), failuresBurst, failuresWindow, now)
	s.failures.take(everybody, searchesBurst, searchesWindow, now)
}

// address returns what stands for one caller: an IPv4 address, or the network
// of an IPv6 address, without port.
func address(remote string) string {
	addr, err := netip.ParseAddr(remote)
	if err != nil {
		port, err := netip.ParseAddrPort(remote)
		if err != nil {
			return remote
		}
		addr = port.Addr()
	}
	if addr = addr.Unmap(); addr.Is6() {
		if network, err := addr.WithZone("").Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}
