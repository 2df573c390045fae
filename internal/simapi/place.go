package simapi

import (
	"net/url"
	"strings"
)

// Roots of the contract.
const (
	connectivityPrefix = "/api/connectivity/v1/"
	applicationPrefix  = "/api/applications/v1/"
	gatewayPrefix      = "/api-gw/connection-management-orchestrator/"
	aliasPrefix        = gatewayPrefix + "v5/"
	metadataPath       = "/.well-known/oauth-authorization-server"
)

// kind is a group of paths with rules of its own.
type kind uint8

const (
	unknown      kind = iota // below /api/, needs a token all the same (AU-7)
	connectivity             // products and what belongs to them
	applications             // application access management
	public                   // token endpoint, keys, problem pages
)

// place is what a path says before its route is looked up. rest is the
// unescaped segments behind the tenant.
type place struct {
	kind   kind
	base   string // prefix with the tenant, as it was written
	tenant string
	rest   []string
}

func placeOf(path string) place {
	for _, p := range []struct {
		prefix string
		kind   kind
	}{{connectivityPrefix, connectivity}, {aliasPrefix, connectivity}, {applicationPrefix, applications}} {
		if below, ok := strings.CutPrefix(path, p.prefix); ok {
			tenant, rest, more := strings.Cut(below, "/")
			at := place{kind: p.kind, base: p.prefix + tenant, tenant: unescape(tenant)}
			if more {
				at.rest = segments(rest)
			}
			return at
		}
	}
	switch {
	case path == "/api/connectivity" || strings.HasPrefix(path, "/api/connectivity/"):
		return place{kind: connectivity}
	case strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, gatewayPrefix):
		return place{}
	}
	return place{kind: public, rest: segments(strings.TrimPrefix(path, "/"))}
}

func segments(path string) (all []string) {
	for s := range strings.SplitSeq(path, "/") {
		all = append(all, unescape(s))
	}
	return all
}

// unescape decodes a segment; net/http has refused what cannot be decoded. What
// no database takes as text becomes U+FFFD, which is in no id either.
func unescape(s string) string {
	if text, err := url.PathUnescape(s); err == nil {
		s = text
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
