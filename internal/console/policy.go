package console

import (
	"net/http"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// policy is a shared access policy as the API shows it.
type policy struct {
	Name       string `json:"name"`
	Rights     string `json:"rights"` // "RegistryRead, ServiceConnect"
	Primary    string `json:"primaryKey,omitempty"`
	Secondary  string `json:"secondaryKey,omitempty"`
	Connection string `json:"connectionString,omitempty"`
}

func policyOf(h *hub.Hub, p nave.Policy) policy {
	c := cred.ConnectionString{HostName: h.Host(), Policy: p.Name, Key: p.Primary}
	return policy{p.Name, p.Rights.String(), p.Primary, p.Secondary, c.String()}
}

func (s *server) listPolicies(h *hub.Hub, w http.ResponseWriter, _ *http.Request) error {
	all := []policy{}
	for _, p := range h.Policies() {
		all = append(all, policyOf(h, p))
	}
	return answer(w, all)
}

// putPolicy creates or replaces the policy that the path names.
func (s *server) putPolicy(h *hub.Hub, w http.ResponseWriter, r *http.Request) error {
	var q policy
	if err := readJSON(w, r, &q); err != nil {
		return err
	}
	name := r.PathValue("name")
	if q.Name != "" && q.Name != name {
		return fault.ArgumentInvalid.New("the body names the policy %q, the path %q", q.Name, name)
	}
	rights, err := nave.ParseRight(q.Rights)
	if err != nil {
		return err
	}
	p, err := h.PutPolicy(r.Context(), nave.Policy{Name: name, Rights: rights, Primary: q.Primary, Secondary: q.Secondary})
	if err != nil {
		return err
	}
	return answer(w, policyOf(h, p))
}

func (s *server) deletePolicy(h *hub.Hub, w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if _, ok := h.Policy(name); !ok {
		return fault.GenericNotFound.New("the hub has no policy %q", name)
	}
	if err := h.DeletePolicy(r.Context(), name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
