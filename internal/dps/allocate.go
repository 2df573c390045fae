package dps

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// plan is where a device goes, and what the webhook said besides.
type plan struct {
	link    *LinkedHub
	stay    bool            // the policy keeps the device where it is
	twin    *TwinState      // initial twin; nil for none
	custom  bool            // the twin is the webhook's, and holds in migrations too
	payload json.RawMessage // for the device; nil without
	webhook time.Duration   // how long the webhook took
}

// isFar says whether a registration may wait for a webhook or a remote hub.
func (s *Service) isFar(e *Enrollment) bool {
	n := s.catalogue.now.Load()
	return n.distant || n.allocation(e, n.profile(e, "")) == AllocateCustom
}

// allocation returns the policy in force.
func (n *snapshot) allocation(e *Enrollment, p *Settings) string {
	return cmp.Or(e.Allocation, p.Policy, n.standard.Policy, AllocateHashed)
}

// decide chooses the hub (dps 4.2, 4.5). Faults end the operation as failed.
func (s *Service) decide(ctx context.Context, j *job, d *dossier) (*plan, error) {
	p := &plan{}
	initial := d.enrollment.InitialTwin
	if o := d.record.overrides().InitialTwin; o != nil {
		initial = o
	}
	var err error
	if p.twin, err = ParseInitialTwin(initial); err != nil {
		return nil, err
	}
	if d.assigned() && !d.policy().UpdateHub {
		p.stay = true
		if p.link = d.snap.hubs[key(d.registration.AssignedHub)]; p.link == nil {
			return nil, unlinked(d.registration.AssignedHub)
		}
		return p, nil
	}
	if pin := d.record.overrides().Hub; pin != "" {
		if p.link = d.snap.hubs[key(pin)]; p.link == nil {
			return nil, unlinked(pin)
		}
		return p, nil
	}
	candidates, err := d.candidates()
	if err != nil {
		return nil, err
	}
	if d.snap.allocation(d.enrollment, d.profile) == AllocateCustom {
		return p, s.custom(ctx, j, d, p, candidates)
	}
	p.link = s.choose(d, candidates, j.op)
	return p, nil
}

func unlinked(host string) error {
	return fault.DPSLinkedHubNotFound.New("Linked hub not found: %s", host)
}

// candidates are the linked hubs that the enrolment allows, by name.
func (d *dossier) candidates() ([]*LinkedHub, error) {
	hosts := d.enrollment.Hubs
	if d.record != nil && d.record.Reprovision && len(d.record.ReprovisionHubs) > 0 {
		hosts = d.record.ReprovisionHubs
	}
	var all []*LinkedHub
	for _, name := range d.snap.names {
		l := d.snap.hubs[name]
		listed := slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, l.Name) })
		if listed || len(hosts) == 0 && l.Applies() {
			all = append(all, l)
		}
	}
	switch {
	case len(all) > 0:
		return all, nil
	case len(hosts) > 0 && len(d.snap.hubs) > 0:
		return nil, unlinked(strings.Join(hosts, ", "))
	}
	return nil, fault.DPSCustomAllocationIotHubNotSpecified.New("No IoT hub available for allocation")
}

// choose applies a policy other than custom; candidates is not empty.
func (s *Service) choose(d *dossier, candidates []*LinkedHub, op *operation) *LinkedHub {
	switch d.snap.allocation(d.enrollment, d.profile) {
	case AllocateStatic:
		return candidates[0]
	case AllocateGeo:
		if place := s.o.Locate(op.Remote); place != "" {
			var near []*LinkedHub
			for _, l := range candidates {
				if strings.EqualFold(l.Location, place) {
					near = append(near, l)
				}
			}
			if len(near) > 0 {
				candidates = near
			}
		}
	}
	return hashed(candidates, op.Registration)
}

// hashed chooses by weighted rendezvous: each hub draws a number from its name
// and the id, and the best for its weight wins, so that a hub that is added or
// removed moves no more devices than it must (dps 4.2).
func hashed(candidates []*LinkedHub, id string) *LinkedHub {
	var best *LinkedHub
	most := math.Inf(-1)
	for _, l := range candidates {
		sum := sha256.Sum256([]byte(key(l.Name) + "\x00" + key(id)))
		u := (float64(binary.BigEndian.Uint64(sum[:8])>>11) + 0.5) / (1 << 53) // within 0 and 1
		if score := -l.weight() / math.Log(u); score > most {
			best, most = l, score
		}
	}
	return best
}
