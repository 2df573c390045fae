package simapi

import (
	"net/http"
	"net/netip"
	"strings"
)

// within says whether one of the networks holds the address.
func within(all []netip.Prefix, a netip.Addr) bool {
	for _, p := range all {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// clientOf returns the address that a request counts for: the TCP peer, or
// behind a trusted proxy the right-most entry of Forwarded or X-Forwarded-For
// that is no trusted proxy itself (connectivity-api RL-9).
func clientOf(r *http.Request, proxies []netip.Prefix) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	from := at.Addr().Unmap()
	if !within(proxies, from) {
		return from
	}
	hops := forwarded(r.Header)
	for n := len(hops) - 1; n >= 0; n-- {
		a, ok := parseHop(hops[n])
		if !ok {
			return from
		}
		if from = a; !within(proxies, a) {
			return a
		}
	}
	return from
}

// forwarded returns the addresses that proxies have noted, the nearest last.
func forwarded(h http.Header) (hops []string) {
	for element := range strings.SplitSeq(strings.Join(h["Forwarded"], ","), ",") {
		for pair := range strings.SplitSeq(element, ";") {
			if name, value, _ := strings.Cut(strings.TrimSpace(pair), "="); strings.EqualFold(name, "for") {
				hops = append(hops, strings.Trim(value, `"`))
			}
		}
	}
	if hops != nil {
		return hops
	}
	for hop := range strings.SplitSeq(strings.Join(h["X-Forwarded-For"], ","), ",") {
		if hop = strings.TrimSpace(hop); hop != "" {
			hops = append(hops, hop)
		}
	}
	return hops
}

// parseHop reads an address, with or without a port; one of version 6 may stand
// in brackets.
func parseHop(text string) (netip.Addr, bool) {
	if at, err := netip.ParseAddrPort(text); err == nil {
		return at.Addr().Unmap(), true
	}
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return a.Unmap(), err == nil
}

// keyOf returns the name that an address is counted under. Of version 6 it is
// the network of 64 bits, which one client has as a whole.
func keyOf(a netip.Addr) string {
	if !a.Is6() {
		return a.String()
	}
	p, _ := a.WithZone("").Prefix(64)
	return p.String()
}
