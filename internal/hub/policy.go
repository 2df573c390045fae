package hub

import (
	"context"
	"slices"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// Policies returns the shared access policies by name.
func (h *Hub) Policies() []nave.Policy {
	var all []nave.Policy
	for _, p := range *h.policies.Load() {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b nave.Policy) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Policy returns one policy; false when it does not exist.
func (h *Hub) Policy(name string) (nave.Policy, bool) {
	p, ok := (*h.policies.Load())[name]
	return p, ok
}

// PutPolicy creates or replaces a policy; empty keys are made at random. It is
// the operator's to call.
func (h *Hub) PutPolicy(ctx context.Context, p nave.Policy) (nave.Policy, error) {
	for _, key := range []*string{&p.Primary, &p.Secondary} {
		if *key == "" {
			*key = cred.NewKey()
		}
		if err := cred.CheckKey(*key); err != nil {
			return p, fault.ArgumentInvalid.Wrap(err, "a key of the policy %s is unusable: %v", p.Name, err)
		}
	}
	if err := h.checkPolicy(&p); err != nil {
		return p, err
	}
	err := h.db.Update(ctx, func(tx *store.Tx) error { return tx.PutPolicy(p) })
	return p, h.authChanged(ctx, err)
}

// Bounds of the list of policies (service-api 1.2, hub-semantics 2.5).
const (
	maxPolicies        = 16
	maxServicePolicies = 10 // of them with ServiceConnect
	maxPolicyName      = 64
)

// checkPolicy judges name and rights, and whether one more policy has a place.
func (h *Hub) checkPolicy(p *nave.Policy) error {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-@.", r)
	}
	switch {
	case p.Name == "" || len(p.Name) > maxPolicyName || strings.ContainsFunc(p.Name, func(r rune) bool { return !plain(r) }):
		return fault.ArgumentInvalid.New("%q is no name of a policy: 1 to %d ASCII letters, digits, '_', '-', '@' and '.'", brief(p.Name), maxPolicyName)
	case p.Rights == 0:
		return fault.ArgumentInvalid.New("the policy %s has no right, it needs at least one", p.Name)
	}
	all, service := 1, 0
	if p.Rights.Has(nave.ServiceConnect) {
		service = 1
	}
	for name, q := range *h.policies.Load() {
		if name == p.Name {
			continue
		}
		all++
		if service > 0 && q.Rights.Has(nave.ServiceConnect) {
			service++
		}
	}
	switch {
	case all > maxPolicies:
		return fault.ArgumentInvalid.Over("policies", maxPolicies, all, "the hub has too many policies")
	case service > maxServicePolicies:
		return fault.ArgumentInvalid.Over("policies with ServiceConnect", maxServicePolicies, service, "the hub has too many policies with that right")
	}
	return nil
}

// DeletePolicy removes a policy; its tokens stop working at once. GenericNotFound
// when it is unknown.
func (h *Hub) DeletePolicy(ctx context.Context, name string) error {
	if _, ok := h.Policy(name); !ok {
		return fault.GenericNotFound.New("the hub has no policy %q", name)
	}
	err := h.db.Update(ctx, func(tx *store.Tx) error { return tx.DeletePolicy(name) })
	return h.authChanged(ctx, err)
}

// authChanged reads policies and authorities again, here and on other nodes.
func (h *Hub) authChanged(ctx context.Context, err error) error {
	if err == nil {
		if err = h.loadAuth(ctx); err == nil {
			h.tell(note{Kind: noteAuth})
		}
	}
	return storeFault(err)
}

// Authorities returns the CAs whose certificates devices may present.
func (h *Hub) Authorities() (all []nave.CertificateAuthority) {
	for _, a := range *h.authorities.Load() {
		all = append(all, a.CertificateAuthority)
	}
	return all
}

// PutAuthority registers a CA certificate, given as PEM. It is the operator's
// to call, who vouches for the certificate: it counts as verified.
func (h *Hub) PutAuthority(ctx context.Context, name, pem string) error {
	cert, err := parseCertificate(pem)
	if err != nil {
		return fault.ArgumentInvalid.Wrap(err, "the certificate %s is unreadable: %v", name, err)
	}
	if !cert.IsCA {
		return fault.ArgumentInvalid.New("the certificate %s is not one of a CA", name)
	}
	ca := nave.CertificateAuthority{Name: name, PEM: pem, Verified: true, Created: h.now()}
	err = h.db.Update(ctx, func(tx *store.Tx) error { return tx.PutAuthority(ca) })
	return h.authChanged(ctx, err)
}

// DeleteAuthority removes a CA certificate; CertificateNotFound when it is
// unknown.
func (h *Hub) DeleteAuthority(ctx context.Context, name string) error {
	known := slices.ContainsFunc(*h.authorities.Load(), func(a authority) bool { return a.Name == name })
	if !known {
		return fault.CertificateNotFound.New("the hub has no CA certificate %q", name)
	}
	err := h.db.Update(ctx, func(tx *store.Tx) error { return tx.DeleteAuthority(name) })
	return h.authChanged(ctx, err)
}
