package dpsapi

import (
	"github.com/go-json-experiment/json"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// certificateRoutes are CA certificates, under both paths (dps 3.10).
var certificateRoutes = append(certificatesAt("/certificates"), certificatesAt(managed+"/certificates")...)

func certificatesAt(path string) []route {
	one := path + "/{name}"
	return []route{
		{"GET", path, dps.ServiceConfig, (*call).showCertificates},
		{"GET", one, dps.ServiceConfig, (*call).showCertificate},
		{"PUT", one, dps.ServiceConfig, (*call).putCertificate},
		{"DELETE", one, dps.ServiceConfig, (*call).deleteCertificate},
		{"POST", one + "/generateVerificationCode", dps.ServiceConfig, (*call).generateCode},
		{"POST", one + "/verify", dps.ServiceConfig, (*call).verifyCertificate},
	}
}

// certificateName is the last variable part of the path.
func (c *call) certificateName() string { return c.args[len(c.args)-1] }

// certificatePath is the id of a certificate: what it is addressed by.
func (c *call) certificatePath(name string) string {
	if c.isManaged() {
		return "/subscriptions/" + c.args[0] + "/resourceGroups/" + c.args[1] + "/providers/Microsoft.Devices/provisioningServices/" + c.args[2] + "/certificates/" + name
	}
	return "/certificates/" + name
}

func (c *call) certificate(cert *dps.Certificate, err error) error {
	if err != nil {
		return err
	}
	r, err := cert.Resource(c.certificatePath(cert.Name))
	if err != nil {
		return err
	}
	return c.reply(r, r.ETag)
}

func (c *call) showCertificate() error {
	return c.certificate(c.access.Certificate(c.r.Context(), c.certificateName()))
}

// showCertificates answers all of them at once: there are few.
func (c *call) showCertificates() error {
	all, _, err := c.access.Certificates(c.r.Context(), "", dps.MaxPage)
	if err != nil {
		return err
	}
	value := make([]*dps.CertificateResource, len(all))
	for i, cert := range all {
		if value[i], err = cert.Resource(c.certificatePath(cert.Name)); err != nil {
			return err
		}
	}
	return c.reply(map[string]any{"value": value}, "")
}

func (c *call) putCertificate() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	d, err := dps.ParseCertificateDraft(b)
	if err != nil {
		return err
	}
	return c.certificate(c.access.PutCertificate(c.r.Context(), c.certificateName(), d, c.match()))
}

func (c *call) deleteCertificate() error {
	return c.gone(c.access.DeleteCertificate(c.r.Context(), c.certificateName(), c.match()))
}

func (c *call) generateCode() error {
	return c.certificate(c.access.GenerateCode(c.r.Context(), c.certificateName(), c.match()))
}

func (c *call) verifyCertificate() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	proof, err := dps.ParseProof(b)
	if err != nil {
		return err
	}
	return c.certificate(c.access.VerifyCertificate(c.r.Context(), c.certificateName(), proof, c.match()))
}

// managedBody returns the JSON of an error for management tools (dps 3.10).
func managedBody(e *fault.Error) []byte {
	b, err := json.Marshal(managedError{e.Code.Name, e.Code.HTTP, e.Text, "trackingId " + e.Tracking})
	if err != nil { // texts and a number always encode
		return []byte(`{"code":"ServerError","httpStatusCode":500,"message":"the error could not be encoded","details":""}`)
	}
	return b
}
