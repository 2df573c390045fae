package cred

import (
	"crypto/x509"
	"slices"
	"time"
)

const (
	maxPathChecks = 100     // signatures tried for one leaf
	maxPathSteps  = 4 << 10 // certificates looked at for one leaf
	maxPathLength = 12      // certificates from leaf to root
)

// Path returns the leaf, presented[0], followed by every certificate that vouches for it, nearest first: those that stand on
// some path from the leaf to one of roots, which alone are trusted and may be intermediates, and none above the last root of
// a path. In an ordinary hierarchy that is the one path up to the topmost root; with cross-signed CAs it is the union of the
// paths. The other presented certificates and known, the ones on file, are taken as intermediates; a certificate of roots need
// not stand in known. Signatures, CA flags, path lengths and dates (at now, give or take skew) are checked, the leaf's name,
// usage and key are not: see CheckLeaf (dps 2.8; RFC 5280 6.1 without policies and revocation). The signatures tried for one
// leaf are bounded. Errors are ProblemMissing, ProblemDates and ProblemChain.
func Path(presented, known, roots []*x509.Certificate, now time.Time, skew time.Duration) ([]*x509.Certificate, error) {
	if len(presented) == 0 {
		return nil, refuse(ProblemMissing, "no client certificate was presented")
	}
	if len(presented) > MaxCerts {
		return nil, refuse(ProblemChain, "%d certificates were presented; at most %d are allowed", len(presented), MaxCerts)
	}
	s := newSearch(presented, known, roots, now, skew)
	leaf := &candidate{cert: presented[0]}
	if err := s.builder.sound(leaf.cert); err != nil {
		return nil, err
	}
	s.climb([]*candidate{leaf})
	if len(s.order) > 0 {
		return s.path(leaf), nil
	}
	if s.builder.obstacle != nil {
		return nil, s.builder.obstacle
	}
	return nil, refuse(ProblemChain, "certificate %s does not lead to a verified CA; its issuer is %q",
		describe(leaf.cert), clip(leaf.cert.Issuer.String()))
}

// search walks from a leaf up in all directions.
type search struct {
	builder   builder
	bySubject map[string][]*candidate
	signed    map[[2]*candidate]bool // child and parent: whether the signature is good
	distance  map[*candidate]int     // from the leaf, of the certificates on paths to a root
	order     []*candidate           // the keys of distance as they were found
	steps     int
}

type candidate struct {
	cert *x509.Certificate
	root bool
}

// newSearch puts roots first and what the client presented last, so that what it made up cannot use up the bounds before.
func newSearch(presented, known, roots []*x509.Certificate, now time.Time, skew time.Duration) *search {
	s := &search{builder: builder{now: now, skew: skew}, bySubject: map[string][]*candidate{},
		signed: map[[2]*candidate]bool{}, distance: map[*candidate]int{}}
	for i, pool := range [][]*x509.Certificate{roots, known, presented[1:]} {
		for _, c := range pool {
			same := s.bySubject[string(c.RawSubject)]
			if !slices.ContainsFunc(same, func(o *candidate) bool { return o.cert.Equal(c) }) {
				s.bySubject[string(c.RawSubject)] = append(same, &candidate{c, i == 0})
			}
		}
	}
	return s
}

// climb notes every certificate on a path that begins with path and ends in a root.
func (s *search) climb(path []*candidate) {
	child := path[len(path)-1]
	for _, parent := range s.bySubject[string(child.cert.RawIssuer)] {
		if s.steps++; s.steps > maxPathSteps {
			return
		}
		if slices.Contains(path, parent) || !s.issued(path, parent) {
			continue
		}
		longer := append(slices.Clip(path), parent)
		if parent.root {
			s.note(longer)
		}
		if len(longer) < maxPathLength {
			s.climb(longer)
		}
	}
}

func (s *search) note(path []*candidate) {
	for i, c := range path[1:] {
		d, known := s.distance[c]
		if !known {
			s.order = append(s.order, c)
		}
		if !known || i+1 < d {
			s.distance[c] = i + 1
		}
	}
}

// issued reports whether parent may stand behind the last certificate of path.
func (s *search) issued(path []*candidate, parent *candidate) bool {
	child := path[len(path)-1]
	if !named(child.cert, parent.cert) {
		return false
	}
	certs := make([]*x509.Certificate, len(path))
	for i, c := range path {
		certs[i] = c.cert
	}
	err := s.builder.authority(certs, parent.cert)
	if err == nil && !s.signedBy(child, parent) {
		err = unsigned(child.cert, parent.cert)
	}
	if err != nil && s.builder.obstacle == nil {
		s.builder.obstacle = err
	}
	return err == nil
}

func (s *search) signedBy(child, parent *candidate) bool {
	pair := [2]*candidate{child, parent}
	good, tried := s.signed[pair]
	if !tried && len(s.signed) < maxPathChecks {
		good = child.cert.CheckSignatureFrom(parent.cert) == nil
		s.signed[pair] = good
	}
	return good
}

func (s *search) path(leaf *candidate) []*x509.Certificate {
	slices.SortStableFunc(s.order, func(a, b *candidate) int { return s.distance[a] - s.distance[b] })
	path := []*x509.Certificate{leaf.cert}
	for _, c := range s.order {
		path = append(path, c.cert)
	}
	return path
}

// CheckLeaf judges the certificate of a device that wants to be provisioned: its common name is name, ASCII letters compared
// without case, now lies in its period give or take skew, and its key is RSA of at least 2048 bits or on P-256 or P-384; usages are not
// looked at (dps 2.8, leaf rules). Errors are ProblemMissing for nil, ProblemName, ProblemDates, ProblemChain for a critical
// extension nobody knows and ProblemKey.
func CheckLeaf(leaf *x509.Certificate, name string, now time.Time, skew time.Duration) error {
	if leaf == nil {
		return refuse(ProblemMissing, "no client certificate was presented")
	}
	if name == "" || !equalFold(leaf.Subject.CommonName, name) {
		return refuse(ProblemName, "the common name of the certificate is %q, expected %q", clip(leaf.Subject.CommonName), clip(name))
	}
	b := builder{now: now, skew: skew}
	if err := b.sound(leaf); err != nil {
		return err
	}
	return checkPublic("certificate "+describe(leaf), leaf.PublicKey)
}
