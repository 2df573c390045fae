package dpsapi_test

import (
	"fmt"
	"testing"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
)

func TestGroupRows(t *testing.T) {
	ca := string(authority(t, "uploaded"))
	k := open(t, func(s *setup) {
		s.rows = func(put func(kind, key string, v any)) {
			put(dps.KindCertificate, "uploaded", dps.Certificate{Name: "uploaded", PEM: ca})
		}
	})
	c := k.owner(t)
	t.Run("DPS-180 Edge", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/enrollmentGroups/edge", keyedGroup("edge", `"capabilities":{"iotEdge":true}`)).want(200, 0).is("capabilities.iotEdge", "true")
		c.do("GET", "/enrollmentGroups/edge", "").want(200, 0).is("capabilities.iotEdge", "true", "enrollmentGroupId", "edge")
	})
	t.Run("DPS-189 attestation mechanism in lower case", func(t *testing.T) {
		c := c.in(t)
		x := c.do("PUT", "/enrollmentGroups/keys", keyedGroup("keys")).want(200, 0)
		c.do("POST", "/enrollmentgroups/keys/attestationmechanism", "").want(200, 0).is("type", "symmetricKey",
			"symmetricKey.primaryKey", x.get("attestation.symmetricKey.primaryKey"))
	})
	t.Run("DPS-190 missing group", func(t *testing.T) {
		c := c.in(t)
		c.do("GET", "/enrollmentGroups/none", "").want(404, 404204)
		c.do("DELETE", "/enrollmentGroups/none", "").want(404, 404204)
		c.do("POST", "/enrollmentGroups/none/attestationmechanism", "").want(404, 404204)
		c.do("PUT", "/enrollmentGroups/none", keyedGroup("none"), "If-Match: *").want(404, 404204)
	})
	t.Run("DPS-191 PUT existing", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/enrollmentGroups/twice", keyedGroup("twice")).want(200, 0)
		c.do("PUT", "/enrollmentGroups/TWICE", keyedGroup("TWICE")).want(409, 409202)
	})
	t.Run("DPS-179 swap keys", func(t *testing.T) {
		c := c.in(t)
		one, two := cred.NewLongKey(), cred.NewLongKey()
		body := func(one, two string) string {
			return fmt.Sprintf(`{"enrollmentGroupId":"swap","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":%q,"secondaryKey":%q}}}`, one, two)
		}
		c.do("PUT", "/enrollmentGroups/swap", body(one, two)).want(200, 0)
		c.do("PUT", "/enrollmentGroups/swap", body(two, one), "If-Match: *").want(200, 0).is("attestation.symmetricKey.primaryKey", two)
		for i, key := range []string{one, two} {
			id := fmt.Sprint("swap-", i)
			derived, err := cred.Derive(key, id)
			if err != nil {
				t.Fatal(err)
			}
			k.device(t, id).withKey(derived).assigned("")
		}
	})
	t.Run("DPS-192 delete group", func(t *testing.T) {
		c := c.in(t)
		key := cred.NewLongKey()
		body := fmt.Sprintf(`{"enrollmentGroupId":"gone","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":%q}}}`, key)
		c.do("PUT", "/enrollmentGroups/gone", body).want(200, 0)
		derived, err := cred.Derive(key, "member")
		if err != nil {
			t.Fatal(err)
		}
		k.device(t, "member").withKey(derived).assigned("")
		c.do("DELETE", "/enrollmentGroups/gone", "").want(204, 0)
		c.do("GET", "/registrations/member", "").want(200, 0).is("status", "assigned")
		c.do("POST", "/registrations/gone/query", "").want(404, 404204)
	})
	t.Run("DPS-187 101st group", func(t *testing.T) {
		k := open(t)
		c := k.owner(t)
		for i := range 100 {
			c.do("PUT", fmt.Sprint("/enrollmentGroups/", i), keyedGroup(fmt.Sprint(i))).want(200, 0)
		}
		c.do("PUT", "/enrollmentGroups/100", keyedGroup("100")).want(400, 400205)
		c.do("PUT", "/enrollmentGroups/x", x509Draft("enrollmentGroupId", "x", "signingCertificates", ca, "")).want(200, 0)
		c.do("PUT", "/enrollmentGroups/5", keyedGroup("5"), "If-Match: *").want(200, 0)
		c.do("DELETE", "/enrollmentGroups/5", "").want(204, 0)
		c.do("PUT", "/enrollmentGroups/100", keyedGroup("100")).want(200, 0)
	})
}

func TestUnverifiedReference(t *testing.T) {
	ca, certPEM := root(t, "reference")
	k := open(t)
	t.Run("DPS-177 reference to an unverified certificate", func(t *testing.T) {
		c := k.owner(t)
		c.do("PUT", "/certificates/reference", upload(certPEM, "")).want(200, 0)
		c.do("PUT", "/enrollmentGroups/reference", `{"enrollmentGroupId":"reference","attestation":{"type":"x509","x509":{"caReferences":{"primary":"reference"}}}}`).want(200, 0)
		d := k.device(t, "leaf-1").withCert(issued(t, ca, "leaf-1"))
		d.register("").want(401, 401002)
		c.do("PUT", "/certificates/reference", upload(certPEM, `,"isVerified":true`), "If-Match: *").want(200, 0)
		d.register("").want(202, 0)
	})
}
