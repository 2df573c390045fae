package hub

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

type authority struct {
	nave.CertificateAuthority
	cert *x509.Certificate
}

// Authenticate proves that the holder of a claim may act as the device or
// module on (device-protocols 1.2–1.5). Answers: IotHubUnauthorized for a
// missing, malformed, expired or unfitting proof and for a disabled device,
// IotHubUnauthorizedAccess for a wrong signature or a policy that lacks
// DeviceConnect, DeviceNotFound or ModuleNotFound for an identity that a token
// names and the registry does not know.
func (h *Hub) Authenticate(ctx context.Context, c cred.Claim, on nave.ID) (*nave.Principal, error) {
	switch {
	case c.SAS != "":
		return h.bySAS(ctx, c.SAS, on)
	case len(c.Certs) > 0:
		return h.byCertificate(ctx, c.Certs, on)
	}
	return nil, fault.IotHubUnauthorized.New("Authorization header missing: neither a SAS token nor a client certificate was presented for %s", on)
}

func (h *Hub) bySAS(ctx context.Context, text string, on nave.ID) (*nave.Principal, error) {
	t, err := h.readToken(text)
	if err != nil {
		return nil, err
	}
	if t.Policy != "" {
		return h.devicePolicy(ctx, t, on)
	}
	i, err := h.registered(ctx, on)
	if err != nil {
		return nil, err
	}
	path := devicePath(on)
	switch {
	case i.Auth.Type != nave.AuthSAS:
		return nil, fault.IotHubUnauthorized.New("%s authenticates by %s, a SAS token does not prove it", on, i.Auth.Type)
	case h.o.DisableDeviceSAS && !on.IsModule(), h.o.DisableModuleSAS && on.IsModule():
		return nil, fault.IotHubUnauthorized.New("SAS tokens of devices or modules are switched off on this hub")
	case t.Depth(h.hosts) != len(path) || !t.Covers(h.hosts, path...):
		return nil, fault.IotHubUnauthorized.New("the token's audience does not cover %s on %s", on, h.o.Host)
	case !t.Verify(i.Auth.Primary, i.Auth.Secondary):
		return nil, fault.IotHubUnauthorizedAccess.New("Unauthorized: the SAS token's signature matches neither the primary nor the secondary key of %s", on)
	}
	return h.proven(ctx, i, "sas", t.Expiry)
}

// readToken parses a token and judges its expiry.
func (h *Hub) readToken(text string) (*cred.SAS, error) {
	t, err := cred.ParseSAS(text)
	if err != nil {
		return nil, fault.IotHubUnauthorized.Wrap(err, "the SAS token is malformed: %v", err)
	}
	if skew := h.o.Limits.Skew; t.Expired(h.now(), skew) {
		return nil, fault.IotHubUnauthorized.Over("auth.skew", skew, h.now().Sub(t.Expiry).Truncate(time.Second),
			"the SAS token expired at %s, renew the token and reconnect", t.Expiry.UTC().Format(time.RFC3339))
	}
	return t, nil
}

func devicePath(on nave.ID) []string {
	if on.IsModule() {
		return []string{"devices", on.Device, "modules", on.Module}
	}
	return []string{"devices", on.Device}
}

// devicePolicy lets a policy with DeviceConnect act as any device its audience
// covers (device-protocols 1.2, 1.3).
func (h *Hub) devicePolicy(ctx context.Context, t *cred.SAS, on nave.ID) (*nave.Principal, error) {
	p, err := h.policy(t, false)
	switch {
	case err != nil:
		return nil, err
	case !p.Rights.Has(nave.DeviceConnect):
		return nil, fault.IotHubUnauthorizedAccess.New("Unauthorized: the policy %s lacks the right DeviceConnect", p.Name)
	case !t.Covers(h.hosts, devicePath(on)...):
		return nil, fault.IotHubUnauthorized.New("the token's audience does not cover %s on %s", on, h.o.Host)
	}
	i, err := h.registered(ctx, on)
	if err != nil {
		return nil, err
	}
	who, err := h.proven(ctx, i, "policy", t.Expiry)
	if err == nil {
		who.Name, who.Auth = p.Name, authMethod("hub", "sas")
	}
	return who, err
}

// policy finds the policy a token names and checks the signature. Event Hubs
// clients key the signature with the text of the key (service-api 1.3): text
// allows that.
func (h *Hub) policy(t *cred.SAS, text bool) (*nave.Policy, error) {
	if h.o.DisableLocalAuth {
		return nil, fault.IotHubUnauthorizedAccess.New("Unauthorized: shared access policies are switched off on this hub (setting disableLocalAuth)")
	}
	all := *h.policies.Load()
	p, ok := all[t.Policy]
	if !ok {
		for name, q := range all {
			if strings.EqualFold(name, t.Policy) {
				p, ok = q, true
			}
		}
	}
	if !ok {
		return nil, fault.IotHubUnauthorizedAccess.New("Unauthorized: the hub has no policy %q", t.Policy)
	}
	if !t.Verify(p.Primary, p.Secondary) && !(text && t.VerifyText(p.Primary, p.Secondary)) {
		return nil, fault.IotHubUnauthorizedAccess.New("Unauthorized: the SAS token's signature matches neither key of the policy %s", p.Name)
	}
	return &p, nil
}

func (h *Hub) registered(ctx context.Context, on nave.ID) (i *nave.Identity, err error) {
	err = h.db.View(ctx, func(tx *store.Tx) error { i, err = tx.Identity(on); return err })
	if errors.Is(err, store.ErrNone) {
		if on.IsModule() {
			return nil, fault.ModuleNotFound.New("Module %s at IotHub %s not registered.", on, h.name)
		}
		return nil, fault.DeviceNotFound.New("Device %s at IotHub %s not registered.", on, h.name)
	}
	return i, storeFault(err)
}

// proven makes the principal of an identity whose proof holds, unless its
// device is disabled, or barred by the SIM that is linked to it (connectivity-api
// RP-6), which is answered alike.
func (h *Hub) proven(ctx context.Context, i *nave.Identity, proof string, until time.Time) (*nave.Principal, error) {
	device := i
	if i.ID.IsModule() {
		var err error
		if device, err = h.registered(ctx, i.ID.Parent()); err != nil {
			return nil, err
		}
	}
	if device.Status == nave.Disabled {
		if h.o.DisabledCode {
			return nil, fault.DeviceDisabled.New("device %s is disabled", device.ID)
		}
		return nil, fault.IotHubUnauthorized.Wrap(fault.DeviceDisabled.New("device %s is disabled", device.ID), "device %s is disabled", device.ID)
	}
	if c := device.Connectivity; c.Reason() != "" {
		why := barred(device.ID.Device, c)
		if h.o.DisabledCode {
			return nil, why
		}
		e := fault.IotHubUnauthorized.Wrap(why, "%s", why.Text)
		e.Detail = why.Detail
		return nil, e
	}
	scope := "device"
	if i.ID.IsModule() {
		scope = "module"
	}
	kind := "sas"
	if proof == "x509" {
		kind = "x509"
	}
	return &nave.Principal{Name: i.ID.String(), Rights: nave.DeviceConnect, Only: i.ID, Proof: proof, Until: until,
		Generation: i.Generation, Auth: authMethod(scope, kind)}, nil
}

func authMethod(scope, kind string) string {
	return fmt.Sprintf(`{"scope":%q,"type":%q,"issuer":"iothub","acceptingIpFilterRule":null}`, scope, kind)
}

func (h *Hub) byCertificate(ctx context.Context, certs []*x509.Certificate, on nave.ID) (*nave.Principal, error) {
	i, err := h.registered(ctx, on)
	if err != nil {
		if e := fault.From(err); e.Code == fault.DeviceNotFound || e.Code == fault.ModuleNotFound {
			return nil, fault.IotHubUnauthorized.Wrap(err, "the hub does not contain the specified device %s", on)
		}
		return nil, err
	}
	switch i.Auth.Type {
	case nave.AuthSelfSigned:
		if !cred.MatchThumbprint(certs[0], i.Auth.PrimaryThumbprint, i.Auth.SecondThumbprint) {
			one, two := cred.Thumbprints(certs[0])
			return nil, fault.IotHubUnauthorized.New("Thumbprint does not match configuration: Thumbprint: SHA1Hash=%s, SHA2Hash=%s, Configuration: PrimaryThumbprint=%s, SecondaryThumbprint=%s",
				one, two, i.Auth.PrimaryThumbprint, i.Auth.SecondThumbprint)
		}
	case nave.AuthCA:
		if err := cred.VerifyChain(certs, h.roots(), h.now(), on.String()); err != nil {
			return nil, fault.IotHubUnauthorized.Wrap(err, "the client certificate was refused: %v", err)
		}
	default:
		return nil, fault.IotHubUnauthorized.New("%s authenticates by %s, a certificate does not prove it", on, i.Auth.Type)
	}
	return h.proven(ctx, i, "x509", time.Time{})
}

func (h *Hub) roots() (certs []*x509.Certificate) {
	for _, a := range *h.authorities.Load() {
		if a.Verified {
			certs = append(certs, a.cert)
		}
	}
	return certs
}

// Admit proves who a service caller is and that its token covers the path of
// the request (service-api 1.3, 1.5). All refusals are IotHubUnauthorizedAccess.
func (h *Hub) Admit(ctx context.Context, c cred.Claim, path ...string) (*nave.Principal, error) {
	return h.admit(ctx, c, false, path)
}

// AdmitReader is Admit for the Event Hubs-compatible endpoint, whose clients
// key their signatures with the text of the key.
func (h *Hub) AdmitReader(ctx context.Context, c cred.Claim, path ...string) (*nave.Principal, error) {
	return h.admit(ctx, c, true, path)
}

func (h *Hub) admit(ctx context.Context, c cred.Claim, reader bool, path []string) (*nave.Principal, error) {
	if c.Bearer != "" {
		if h.o.Bearer == nil {
			return nil, fault.IotHubUnauthorizedAccess.New("Unauthorized: no issuer of bearer tokens is configured (setting oidc.issuers)")
		}
		return h.o.Bearer(ctx, c.Bearer)
	}
	if c.SAS == "" {
		return nil, fault.IotHubUnauthorizedAccess.New("Unauthorized: Authorization header missing")
	}
	t, err := h.readToken(c.SAS)
	if err != nil {
		e := fault.From(err)
		return nil, fault.IotHubUnauthorizedAccess.Wrap(err, "Unauthorized: %s", e.Text)
	}
	if t.Policy == "" {
		return nil, fault.IotHubUnauthorizedAccess.New("Unauthorized: a device's own token opens no service operation")
	}
	p, err := h.policy(t, reader)
	if err != nil {
		return nil, err
	}
	if !t.CoversFold(h.hosts, path...) {
		return nil, fault.IotHubUnauthorizedAccess.New("Unauthorized: the token's audience does not cover %s/%s", h.o.Host, strings.Join(path, "/"))
	}
	return &nave.Principal{Name: p.Name, Rights: p.Rights, Proof: "policy", Until: t.Expiry}, nil
}

// loadAuth reads policies and certificate authorities into memory.
func (h *Hub) loadAuth(ctx context.Context) error {
	var policies []nave.Policy
	var cas []nave.CertificateAuthority
	err := h.db.View(ctx, func(tx *store.Tx) (err error) {
		if policies, err = tx.Policies(); err != nil {
			return err
		}
		cas, err = tx.Authorities()
		return err
	})
	if err != nil {
		return err
	}
	byName := make(map[string]nave.Policy, len(policies))
	for _, p := range policies {
		byName[p.Name] = p
	}
	var list []authority
	for _, ca := range cas {
		cert, err := parseCertificate(ca.PEM)
		if err != nil {
			h.o.Log.Error("a stored certificate authority is unreadable", "hub", h.o.Host, "name", ca.Name, "err", err)
			continue
		}
		list = append(list, authority{ca, cert})
	}
	h.policies.Store(&byName)
	h.authorities.Store(&list)
	return nil
}

func parseCertificate(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no PEM block of type CERTIFICATE")
	}
	return x509.ParseCertificate(block.Bytes)
}

// storeFault gives a store's own failure its code; nil stays nil.
func storeFault(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrFull), errors.Is(err, store.ErrClosed):
		return fault.ServiceUnavailable.Wrap(err, "the hub's store takes no writes now")
	}
	return err
}
