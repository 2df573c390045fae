package dps

import (
	"strings"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
)

// normalise checks an attestation and fills in what certificates say; type may
// be left out (dps 3.9).
func (a *Attestation) normalise(group bool) (err error) {
	members := 0
	derived := ""
	for name, there := range map[string]bool{AttestTPM: a.TPM != nil, AttestX509: a.X509 != nil, AttestKey: a.SymmetricKey != nil} {
		if there {
			members++
			derived = name
		}
	}
	if a.Type == "" {
		a.Type = derived
	}
	if members > 1 {
		return fault.DPSArgumentInvalid.New("attestation has %d of tpm, x509 and symmetricKey, one is allowed", members)
	}
	if a.Type == "" {
		return fault.DPSArgumentNull.New("attestation has neither type nor tpm, x509 or symmetricKey")
	}
	if a.Type, err = canonical("attestation.type", a.Type, AttestTPM, AttestX509, AttestKey); err != nil {
		return err
	}
	if members == 1 && derived != a.Type {
		return fault.DPSArgumentInvalid.New("attestation.type is %s, but the member %s is there", a.Type, derived)
	}
	switch a.Type {
	case AttestTPM:
		return a.normaliseTPM(group)
	case AttestX509:
		return a.normaliseX509(group)
	}
	return a.checkKeys()
}

func (a *Attestation) normaliseTPM(group bool) error {
	switch {
	case group:
		return fault.DPSArgumentInvalid.New("attestation.type tpm is for individual enrolments")
	case a.TPM == nil || a.TPM.EK == "":
		return fault.DPSArgumentNull.New("attestation.tpm has no endorsementKey")
	}
	if _, err := cred.ParseEndorsementKeyText(a.TPM.EK); err != nil {
		return fault.DPSInvalidEndorsementKey.Wrap(err, "endorsementKey: %s", err)
	}
	if a.TPM.SRK == "" {
		return nil
	}
	if _, err := cred.ParseStorageRootKeyText(a.TPM.SRK); err != nil {
		return fault.DPSInvalidStorageRootKey.Wrap(err, "storageRootKey: %s", err)
	}
	return nil
}

// checkKeys leaves missing keys to the store's transaction, which knows whether
// there are some already.
func (a *Attestation) checkKeys() error {
	if a.SymmetricKey == nil {
		a.SymmetricKey = &SymmetricKey{}
	}
	for name, k := range map[string]string{"primaryKey": a.SymmetricKey.Primary, "secondaryKey": a.SymmetricKey.Secondary} {
		if k == "" {
			continue
		}
		if err := cred.CheckKey(k); err != nil {
			return fault.DPSArgumentInvalid.Wrap(err, "attestation.symmetricKey.%s: %s", name, err)
		}
	}
	return nil
}

// fillKeys takes missing keys over from before, which may be nil, or makes
// them.
func (a *Attestation) fillKeys(before *Attestation) {
	if a.Type != AttestKey {
		return
	}
	stored := &SymmetricKey{}
	if before != nil && before.SymmetricKey != nil {
		stored = before.SymmetricKey
	}
	for _, k := range []struct{ now, then *string }{{&a.SymmetricKey.Primary, &stored.Primary}, {&a.SymmetricKey.Secondary, &stored.Secondary}} {
		if *k.now == "" {
			*k.now = *k.then
		}
		if *k.now == "" {
			*k.now = cred.NewLongKey()
		}
	}
}

// fillSRK keeps the storage root key that was recorded for the same TPM.
func (a *Attestation) fillSRK(before *Attestation) {
	if a.Type == AttestTPM && a.TPM.SRK == "" && before != nil && before.TPM != nil && before.TPM.EK == a.TPM.EK {
		a.TPM.SRK = before.TPM.SRK
	}
}

func (a *Attestation) normaliseX509(group bool) error {
	x := a.X509
	if x == nil {
		return fault.DPSArgumentNull.New("attestation.x509 is missing")
	}
	x.dropEmpty()
	members := 0
	for _, there := range []bool{x.Client != nil, x.Signing != nil, x.References != nil} {
		if there {
			members++
		}
	}
	switch {
	case members == 0:
		return fault.DPSArgumentNull.New("attestation.x509 has neither clientCertificates nor signingCertificates nor caReferences")
	case members > 1:
		return fault.DPSArgumentInvalid.New("attestation.x509 has %d of clientCertificates, signingCertificates and caReferences, one is allowed", members)
	case group && x.Client != nil:
		return fault.DPSArgumentInvalid.New("clientCertificates are for individual enrolments, a group takes signingCertificates or caReferences")
	case !group && x.Signing != nil:
		return fault.DPSArgumentInvalid.New("signingCertificates are for groups, an individual enrolment takes clientCertificates or caReferences")
	}
	return x.describe()
}

// dropEmpty takes members without content for absent ones.
func (x *X509Attestation) dropEmpty() {
	for _, pair := range []**CertificatePair{&x.Client, &x.Signing} {
		if *pair == nil {
			continue
		}
		for _, c := range []**CertificateWithInfo{&(*pair).Primary, &(*pair).Secondary} {
			if *c != nil && (*c).Certificate == "" && (*c).Info == nil {
				*c = nil
			}
		}
		if len((*pair).All()) == 0 {
			*pair = nil
		}
	}
	if len(x.References.Names()) == 0 {
		x.References = nil
	}
}

// describe reads the certificates that are there and fills in what they say.
func (x *X509Attestation) describe() error {
	for _, c := range x.certificates() {
		if c.Certificate == "" {
			continue
		}
		parsed, err := c.Parse()
		if err != nil {
			return fault.DPSArgumentInvalid.Wrap(err, "attestation.x509: %s", err)
		}
		info := cred.Info(parsed)
		c.Info = &info
	}
	return nil
}

// certificates returns all that are given, or only described.
func (x *X509Attestation) certificates() []*CertificateWithInfo {
	if x == nil {
		return nil
	}
	return append(x.Client.All(), x.Signing.All()...)
}

// fillCertificates takes over from before what is described only: clients do
// that when they send back what they have read.
func (a *Attestation) fillCertificates(before *Attestation) error {
	var known []*CertificateWithInfo
	if before != nil {
		known = before.X509.certificates()
	}
	for _, c := range a.X509.certificates() {
		if c.Certificate == "" {
			c.takeOver(known)
		}
		if c.Certificate == "" {
			return fault.DPSArgumentNull.New("attestation.x509 describes a certificate without giving it")
		}
	}
	return nil
}

func (c *CertificateWithInfo) takeOver(known []*CertificateWithInfo) {
	for _, k := range known {
		if k.Info != nil && strings.EqualFold(k.Info.SHA256Thumbprint, c.Info.SHA256Thumbprint) {
			c.Certificate, c.Info = k.Certificate, k.Info
			return
		}
	}
}

// clone returns a copy that fill may change.
func (a *Attestation) clone() *Attestation {
	c := *a
	if a.TPM != nil {
		k := *a.TPM
		c.TPM = &k
	}
	if a.SymmetricKey != nil {
		k := *a.SymmetricKey
		c.SymmetricKey = &k
	}
	if a.X509 != nil {
		x := *a.X509
		x.Client, x.Signing = x.Client.clone(), x.Signing.clone()
		c.X509 = &x
	}
	return &c
}

func (p *CertificatePair) clone() *CertificatePair {
	if p == nil {
		return nil
	}
	var c CertificatePair
	if p.Primary != nil {
		one := *p.Primary
		c.Primary = &one
	}
	if p.Secondary != nil {
		one := *p.Secondary
		c.Secondary = &one
	}
	return &c
}

// fill completes an attestation from the one it replaces, nil for none.
func (a *Attestation) fill(before *Attestation) error {
	a.fillKeys(before)
	a.fillSRK(before)
	return a.fillCertificates(before)
}
