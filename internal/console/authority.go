package console

import (
	"io"
	"net/http"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// authority is a CA certificate as the API shows it.
type authority struct {
	Name       string    `json:"name"`
	Subject    string    `json:"subject"`
	Thumbprint string    `json:"thumbprint"` // SHA-256, upper-case hex
	Expires    time.Time `json:"expires"`
	Created    time.Time `json:"created"`
	Verified   bool      `json:"verified"`
	PEM        string    `json:"pem"`
}

func authorityOf(a nave.CertificateAuthority) authority {
	out := authority{Name: a.Name, Created: a.Created, Verified: a.Verified, PEM: a.PEM}
	if certs, err := cred.ParseCertificates([]byte(a.PEM)); err == nil {
		out.Subject, out.Expires = certs[0].Subject.String(), certs[0].NotAfter
		_, out.Thumbprint = cred.Thumbprints(certs[0])
	}
	return out
}

func (s *server) listAuthorities(h *hub.Hub, w http.ResponseWriter, _ *http.Request) error {
	all := []authority{}
	for _, a := range h.Authorities() {
		all = append(all, authorityOf(a))
	}
	return answer(w, all)
}

// putAuthority registers the CA certificate in the body, PEM, under the name
// in the path.
func (s *server) putAuthority(h *hub.Hub, w http.ResponseWriter, r *http.Request) error {
	pem, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return fault.ArgumentInvalid.Wrap(err, "the certificate can't be read: %v", err)
	}
	name := r.PathValue("name")
	if err := h.PutAuthority(r.Context(), name, string(pem)); err != nil {
		return err
	}
	for _, a := range h.Authorities() {
		if a.Name == name {
			return answer(w, authorityOf(a))
		}
	}
	return fault.CertificateNotFound.New("the certificate %q has just been deleted again", name)
}

func (s *server) deleteAuthority(h *hub.Hub, w http.ResponseWriter, r *http.Request) error {
	if err := h.DeleteAuthority(r.Context(), r.PathValue("name")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
