package dpsapi

import "github.com/nave-hub/nave/internal/dps"

// caRoutes are certificate authorities (dps 6.7).
var caRoutes = noun[dps.CertificateAuthority, dps.CertificateAuthority]{
	path: "/certificateAuthorities", item: "CertificateAuthority", read: dps.ServiceConfig, write: dps.ServiceConfig,
	get: (*dps.Access).CertificateAuthority, list: (*dps.Access).CertificateAuthorities,
	parse: dps.ParseCertificateAuthority, put: (*dps.Access).PutCertificateAuthority, remove: (*dps.Access).DeleteCertificateAuthority,
	etag: caETag,
}.routes(
	route{"POST", "/certificateAuthorities/{id}/rotate", dps.ServiceConfig, (*call).rotateCA},
	route{"POST", "/certificateAuthorities/{id}/revoke", dps.ServiceConfig, (*call).revokeCertificate},
)

func caETag(a *dps.CertificateAuthority) string { return a.ETag }

func (c *call) rotateCA() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	r, err := dps.ParseRotation(b)
	if err != nil {
		return err
	}
	return tagged(c, caETag)(c.access.RotateCertificateAuthority(c.r.Context(), c.args[0], r, c.match()))
}

func (c *call) revokeCertificate() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	serial, err := dps.ParseRevocation(b)
	if err != nil {
		return err
	}
	r, err := c.access.RevokeCertificate(c.r.Context(), c.args[0], serial)
	if err != nil {
		return err
	}
	return c.reply(r, "")
}
