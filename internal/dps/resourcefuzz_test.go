package dps_test

import (
	"testing"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// parsers read the bodies of all resources.
var parsers = map[string]func([]byte) error{
	"certificate":  func(b []byte) error { _, err := dps.ParseCertificateDraft(b); return err },
	"proof":        func(b []byte) error { _, err := dps.ParseProof(b); return err },
	"linked hub":   func(b []byte) error { _, err := dps.ParseLinkedHub(b); return err },
	"instance":     func(b []byte) error { _, err := dps.ParseInstance(b); return err },
	"policy":       func(b []byte) error { _, err := dps.ParsePolicy(b); return err },
	"bundle":       func(b []byte) error { _, err := dps.ParseTrustBundle(b); return err },
	"authority":    func(b []byte) error { _, err := dps.ParseCertificateAuthority(b); return err },
	"rotation":     func(b []byte) error { _, err := dps.ParseRotation(b); return err },
	"revocation":   func(b []byte) error { _, err := dps.ParseRevocation(b); return err },
	"credential":   func(b []byte) error { _, err := dps.ParseCredentialPolicy(b); return err },
	"registry":     func(b []byte) error { _, err := dps.ParseRegistryLink(b); return err },
	"device":       func(b []byte) error { _, err := dps.ParseDeviceRecord(b); return err },
	"group record": func(b []byte) error { _, err := dps.ParseGroupRecord(b); return err },
	"device group": func(b []byte) error { _, err := dps.ParseDeviceGroup(b); return err },
	"action":       func(b []byte) error { _, err := dps.ParseGroupAction(b); return err },
	"settings":     func(b []byte) error { _, err := dps.ParseSettings(b); return err },
	"record":       func(b []byte) error { _, err := dps.ParseProvisioningRecord(b); return err },
}

func FuzzResources(f *testing.F) {
	for _, seed := range []string{``, `null`, `[]`, `{}`, `{"membership":null}`, `{"membership":{"query":"SELECT * FROM deviceRecords WHERE a=1"}}`,
		`{"properties":null}`, `{"properties":{"certificate":"-----BEGIN CERTIFICATE-----"}}`, `{"certificates":[null]}`, `{"authorizationPolicies":[null]}`,
		`{"ipFilterRules":[null,{"filterName":"a","action":"Accept","ipMask":"fe80::1%eth0"}]}`, `{"ipFilterRules":[{"filterName":"a","action":"Accept","ipMask":"::ffff:10.0.0.1"}]}`,
		`{"certificateAuthorityType":"LocalCertificateAuthority","subject":"CN="}`, `{"serialNumber":"00"}`, `{"overrides":{"initialTwin":null}}`,
		`{"appliesTo":{"enrollments":[""]},"webhook":{"caCertificate":"x"}}`, `{"keyTypes":[""],"certificateAuthorityName":"a"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, parse := range parsers {
			if err := parse(b); err != nil {
				if e := fault.From(err); e.Code.Family != fault.DPS || e.Code.HTTP >= 500 {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	})
}
