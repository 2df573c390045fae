package cred

import (
	"net/url"
	"slices"
	"strings"
)

// readings are the candidates for what sr says: raw, decoded once, decoded twice (device-protocols 1.2, audience check).
func readings(sr string) []string {
	all := append(make([]string, 0, 3), sr)
	for len(all) < 3 {
		last := all[len(all)-1]
		if strings.IndexByte(last, '%') < 0 {
			break
		}
		next, err := url.PathUnescape(last) // leaves '+' alone
		if err != nil {
			break
		}
		all = append(all, next)
	}
	return all
}

// Readings returns what sr may say: raw, decoded once, decoded twice, as many as differ.
// Provisioning compares them whole with scope/registrations/id (dps 2.7).
func (t *SAS) Readings() []string { return slices.Clone(t.readings) }

// Path returns the segments after the host in the least decoded reading of sr whose host is one of hosts, and whether there is
// such a reading. Scheme, port and one trailing slash are dropped; segments may still be percent-encoded, so compare with Covers.
func (t *SAS) Path(hosts []string) (segments []string, ok bool) {
	for _, r := range t.readings {
		if path, deeper, ok := underHost(r, hosts); ok {
			if !deeper {
				return nil, true
			}
			return strings.Split(path, "/"), true
		}
	}
	return nil, false
}

// Depth returns how many segments Path has: 0 for the bare host, -1 when the host is foreign.
func (t *SAS) Depth(hosts []string) int {
	for _, r := range t.readings {
		if path, deeper, ok := underHost(r, hosts); ok {
			if !deeper {
				return 0
			}
			return strings.Count(path, "/") + 1
		}
	}
	return -1
}

// Covers reports whether a reading of sr names one of hosts followed by a segment-wise prefix of path. Segments 0, 2, … of path
// are keywords such as "devices", compared case-insensitively; segments 1, 3, … are ids, equal when the segment as it is,
// percent-decoded or form-decoded, is the id exactly (device-protocols 1.2).
func (t *SAS) Covers(hosts []string, path ...string) bool { return t.covers(hosts, path, false) }

// CoversFold is Covers with ids compared case-insensitively too, as for Event Hubs paths and service requests (service-api 1.3).
func (t *SAS) CoversFold(hosts []string, path ...string) bool { return t.covers(hosts, path, true) }

// CheckAudience returns a ProblemAudience error unless Covers.
func (t *SAS) CheckAudience(hosts []string, path ...string) error {
	if t.Covers(hosts, path...) {
		return nil
	}
	want := "the hub"
	if len(path) > 0 {
		want = strings.Join(path, "/")
	}
	return refuse(ProblemAudience, "sr of the token is %q, which does not cover %q", clip(t.Resource), clip(want))
}

func (t *SAS) covers(hosts, path []string, fold bool) bool {
	for _, r := range t.readings {
		rest, deeper, ok := underHost(r, hosts)
		if ok && (!deeper || prefix(rest, path, fold)) {
			return true
		}
	}
	return false
}

// prefix reports whether text, at least one segment, is a segment-wise prefix of path.
func prefix(text string, path []string, fold bool) bool {
	for i, want := range path {
		segment, rest, more := strings.Cut(text, "/")
		if i%2 == 0 && !strings.EqualFold(segment, want) || i%2 == 1 && !sameID(segment, want, fold) || want == "" {
			return false
		}
		if !more {
			return true
		}
		text = rest
	}
	return false
}

func sameID(segment, id string, fold bool) bool {
	same := func(s string) bool { return s == id || fold && strings.EqualFold(s, id) }
	if same(segment) {
		return true
	}
	if !strings.ContainsAny(segment, "%+") {
		return false
	}
	if s, err := url.PathUnescape(segment); err == nil && same(s) {
		return true
	}
	s, err := url.QueryUnescape(segment) // '+' means a blank in Java's tokens
	return err == nil && same(s)
}

// underHost returns what follows the host and its slash, and whether there was a slash; ok is false for a foreign host.
func underHost(reading string, hosts []string) (path string, deeper, ok bool) {
	if word, rest, found := strings.Cut(reading, "://"); found && knownScheme(word) {
		reading = rest
	}
	host, path, deeper := strings.Cut(strings.TrimSuffix(reading, "/"), "/")
	if i := strings.LastIndexByte(host, ':'); i >= 0 && isPort(host[i+1:]) {
		host = host[:i]
	}
	if host == "" {
		return "", false, false
	}
	for _, h := range hosts {
		if strings.EqualFold(host, h) {
			return path, deeper, true
		}
	}
	return "", false, false
}

func knownScheme(word string) bool {
	switch strings.ToLower(word) {
	case "amqps", "amqp", "https", "http", "sb":
		return true
	}
	return false
}

func isPort(s string) bool {
	return s != "" && len(s) <= 5 && strings.Trim(s, "0123456789") == ""
}
