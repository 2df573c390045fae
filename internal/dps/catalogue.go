package dps

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/store"
)

// catalogue keeps what every call needs and what is small in memory: groups,
// linked hubs, CA certificates and settings. A change made on any node is told
// over the bus; a note that is lost costs staleAfter.
type catalogue struct {
	now     atomic.Pointer[snapshot]
	changes atomic.Uint64 // heard of so far; a snapshot that was read before the last one is stale

	// Guarded by mu, which one reader holds while it reads the store:
	mu   sync.Mutex
	memo map[string]*memoRow
}

// staleAfter is how long a snapshot is believed without a look at the store.
const staleAfter = time.Second

// memoRow keeps what a row was decoded to as long as its bytes stay.
type memoRow struct {
	doc   []byte
	value any
}

// snapshot is the catalogue at one moment; read only.
type snapshot struct {
	read       time.Time // by the real clock
	changes    uint64    // heard of before it was read
	generation uint64    // grows when something has changed

	groups    map[string]*group
	symmetric []*group              // those with keys, the oldest first
	signers   map[string][]*group   // by the bytes of a signing certificate, the oldest first
	hubs      map[string]*LinkedHub // connection strings are open
	names     []string              // keys of hubs, sorted
	distant   bool                  // some hub is behind its service API
	wasted    bool                  // there are rows of KindWaste
	accounts  *sync.Map             // records of groups by key, read when first asked for
	settings  []*Settings           // without default, by priority
	standard  *Settings             // default

	certificates map[string]*x509.Certificate // verified ones by key of their name
	roots        []*x509.Certificate          // verified ones
	known        []*x509.Certificate          // all others on file
	revoked      map[string]bool              // bytes of a CA certificate and serial numbers it no longer vouches for

	suspended bool // devices are refused
	filters   []filter
}

// group is an enrolment group with its keys open.
type group struct {
	*Enrollment
	keys    []string // primary and secondary key, symmetricKey only
	signing []*x509.Certificate
}

// snapshot returns the catalogue, not older than staleAfter.
func (s *Service) snapshot(ctx context.Context) (*snapshot, error) {
	c := &s.catalogue
	if now := c.now.Load(); now != nil && now.changes == c.changes.Load() && time.Since(now.read) < staleAfter {
		return now, nil
	}
	if err := s.reload(ctx); err != nil {
		return nil, translated(err)
	}
	return c.now.Load(), nil
}

// reload reads the catalogue from the store.
func (s *Service) reload(ctx context.Context) error {
	c := &s.catalogue
	called := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now.Load(); now != nil && now.changes == c.changes.Load() && now.read.After(called) {
		return nil // another caller has read it meanwhile
	}
	changes, read := c.changes.Load(), time.Now() // before reading: a change that comes now makes it stale
	var rows []*store.DPSRow
	var wasted int
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		if rows, err = catalogueRows(tx); err == nil {
			wasted, err = tx.CountDPS(KindWaste)
		}
		return err
	})
	if err != nil {
		return err
	}
	memo, changed := s.decodeCatalogue(rows)
	c.memo = memo
	old := c.now.Load()
	var n *snapshot
	switch {
	case old == nil:
		n = newSnapshot(rows, memo, read, 1)
	case changed:
		n = newSnapshot(rows, memo, read, old.generation+1)
		s.paths.clear()
		s.refused.clear()
	default:
		same := *old
		n, same.read = &same, read
	}
	n.changes = changes
	n.distant, n.wasted, n.accounts = s.anyDistant(n), wasted > 0, &sync.Map{}
	c.now.Store(n)
	return nil
}

// anyDistant says whether some hub may keep a worker waiting.
func (s *Service) anyDistant(n *snapshot) bool {
	for _, l := range n.hubs {
		if t, err := s.target(l); err != nil || !t.Near() {
			return true
		}
	}
	return false
}

// catalogueRows reads all rows of the kinds that the catalogue holds.
func catalogueRows(tx *store.Tx) (all []*store.DPSRow, err error) {
	const page = 500
	for _, kind := range []string{KindGroup, KindHub, KindCertificate, KindSettings, KindInstance} {
		for after := ""; ; {
			rows, err := tx.DPSAfter(kind, after, page)
			if err != nil {
				return nil, err
			}
			all = append(all, rows...)
			if len(rows) < page {
				break
			}
			after = rows[len(rows)-1].Key
		}
	}
	return all, nil
}

// decodeCatalogue decodes rows that are new or different. One that cannot be
// read is logged and left out.
func (s *Service) decodeCatalogue(rows []*store.DPSRow) (map[string]*memoRow, bool) {
	before := s.catalogue.memo
	memo, changed := make(map[string]*memoRow, len(rows)), len(rows) != len(before)
	for _, row := range rows {
		name := row.Kind + "/" + row.Key
		if m := before[name]; m != nil && bytes.Equal(m.doc, row.Doc) {
			memo[name] = m
			continue
		}
		changed = true
		value, err := s.decodeEntry(row)
		if err != nil {
			s.o.Log.Error("a row of the provisioning service is unreadable", "kind", row.Kind, "key", row.Key, "err", err)
		}
		memo[name] = &memoRow{row.Doc, value}
	}
	return memo, changed
}

func (s *Service) decodeEntry(row *store.DPSRow) (any, error) {
	switch row.Kind {
	case KindGroup:
		return s.decodeGroup(row)
	case KindHub:
		hub, err := decodeRow[LinkedHub](row)
		if err == nil {
			hub.Connection, err = s.seal.Open(KindHub+"/"+row.Key, hub.Connection)
		}
		return hub, err
	case KindCertificate:
		c, err := decodeRow[Certificate](row)
		if err != nil {
			return nil, err
		}
		cert, err := (&CertificateWithInfo{Certificate: c.PEM}).Parse()
		return &uploaded{c, cert}, err
	case KindInstance:
		return decodeRow[instanceRow](row)
	}
	return decodeRow[Settings](row)
}

// uploaded is a CA certificate on file.
type uploaded struct {
	*Certificate
	cert *x509.Certificate
}

func (s *Service) decodeGroup(row *store.DPSRow) (*group, error) {
	e, err := s.decodeEnrollment(row)
	if err != nil {
		return nil, err
	}
	g := &group{Enrollment: e}
	if e.Attestation == nil {
		return g, nil
	}
	g.keys = e.Attestation.Keys()
	if x := e.Attestation.X509; x != nil {
		for _, c := range x.Signing.All() {
			cert, err := c.Parse()
			if err != nil {
				return nil, err
			}
			g.signing = append(g.signing, cert)
		}
	}
	return g, nil
}

func newSnapshot(rows []*store.DPSRow, memo map[string]*memoRow, read time.Time, generation uint64) *snapshot {
	n := &snapshot{read: read, generation: generation, groups: map[string]*group{}, signers: map[string][]*group{},
		hubs: map[string]*LinkedHub{}, certificates: map[string]*x509.Certificate{}, revoked: map[string]bool{}, standard: &Settings{ID: DefaultSettings}}
	for _, row := range rows {
		n.add(row.Key, memo[row.Kind+"/"+row.Key].value)
	}
	slices.SortStableFunc(n.settings, func(a, b *Settings) int { return a.Priority - b.Priority })
	n.index()
	return n
}

func (n *snapshot) add(key string, value any) {
	switch v := value.(type) {
	case *group:
		if v != nil {
			n.groups[key] = v
		}
	case *LinkedHub:
		if v != nil {
			n.hubs[key] = v
			n.names = append(n.names, key)
		}
	case *instanceRow:
		if v != nil {
			n.suspended, n.filters = v.State == InstanceSuspended, filters(v.Filters)
		}
	case *uploaded:
		if v != nil && v.cert != nil {
			for _, serial := range v.Revoked {
				n.revoked[string(v.cert.Raw)+serial] = true
			}
		}
		switch {
		case v == nil || v.cert == nil:
			return
		case v.Verified:
			n.certificates[key] = v.cert
			n.roots = append(n.roots, v.cert)
		default:
			n.known = append(n.known, v.cert)
		}
	case *Settings:
		switch {
		case v == nil:
		case strings.EqualFold(v.ID, DefaultSettings):
			n.standard = v
		default:
			n.settings = append(n.settings, v)
		}
	}
}

// index sorts groups by age: of two with the same certificate the older
// decides (dps 2.8).
func (n *snapshot) index() {
	slices.Sort(n.names)
	all := make([]*group, 0, len(n.groups))
	for _, g := range n.groups {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *group) int {
		if c := a.Created.Compare(b.Created.Time); c != 0 {
			return c
		}
		return strings.Compare(a.GroupID, b.GroupID)
	})
	for _, g := range all {
		if g.Attestation == nil {
			continue
		}
		if len(g.keys) > 0 {
			n.symmetric = append(n.symmetric, g)
		}
		for _, cert := range g.signing {
			n.known = append(n.known, cert)
			n.sign(cert, g)
		}
		if x := g.Attestation.X509; x != nil {
			for _, name := range x.References.Names() {
				if cert := n.certificates[key(name)]; cert != nil {
					n.sign(cert, g)
				}
			}
		}
	}
}

func (n *snapshot) sign(cert *x509.Certificate, g *group) {
	raw := string(cert.Raw)
	if !slices.Contains(n.signers[raw], g) {
		n.signers[raw] = append(n.signers[raw], g)
	}
}

// profile returns the settings in force for an enrolment, nil for the
// instance: those its group record names, else the first that match, else
// default.
func (n *snapshot) profile(e *Enrollment, named string) *Settings {
	if named != "" {
		for _, p := range n.settings {
			if strings.EqualFold(p.ID, named) {
				return p
			}
		}
	}
	if e != nil {
		for _, p := range n.settings {
			if p.appliesTo(e) {
				return p
			}
		}
	}
	return n.standard
}

func (s *Service) subject() string { return "dps." + bus.Word(s.scope) }

// news is a wake-up between nodes: rows of the kind have changed.
type news struct{ Node, Kind string }

func (s *Service) heard(in []byte) {
	var n news
	if json.Unmarshal(in, &n) == nil {
		s.catalogue.changes.Add(1)
	}
}

// changed makes every node read the catalogue again, once the transaction is
// durable. Whoever writes a group, hub, certificate or settings calls it.
func (s *Service) changed(tx *store.Tx, kind string) {
	tx.After(func() {
		s.catalogue.changes.Add(1)
		s.bus.Tell(s.subject(), news{s.opening, kind})
	})
}
