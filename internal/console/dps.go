package console

import (
	"context"
	"net/http"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// dpsRest begins the paths of the provisioning service's own API.
const dpsRest = "/api/dps/rest/"

// dpsStatus is what anybody at the console may see of the provisioning service.
type dpsStatus struct {
	Host  string `json:"host"` // also the global endpoint
	Scope string `json:"idScope"`
	dps.Counts
	Problem string `json:"problem,omitempty"` // why the counts are missing
}

func (s *server) dpsStatus(ctx context.Context) *dpsStatus {
	if s.o.DPS == nil {
		return nil
	}
	out := &dpsStatus{Host: s.o.DPS.Host(), Scope: s.o.DPS.Scope()}
	n, err := s.o.DPS.Counts(ctx)
	if out.Counts = n; err != nil {
		out.Problem = err.Error()
	}
	return out
}

// dpsAnswer is what clients need to reach the provisioning service.
type dpsAnswer struct {
	*dpsStatus
	Endpoint string           `json:"globalEndpoint"`    // what devices dial
	Service  string           `json:"service,omitempty"` // for service SDKs, policy provisioningserviceowner
	Hubs     []*dps.LinkedHub `json:"hubs"`
	CAFile   string           `json:"caFile,omitempty"`
}

// noDPS answers where the provisioning service is off.
func noDPS() error {
	return refuse(fault.GenericNotFound, "Start the node with the setting dps.enabled=true, which is the default.", "this node has no provisioning service")
}

func (s *server) showDPS(w http.ResponseWriter, r *http.Request) {
	if s.o.DPS == nil {
		s.fail(w, r, noDPS())
		return
	}
	out := dpsAnswer{dpsStatus: s.dpsStatus(r.Context()), Endpoint: s.o.DPS.Host(), CAFile: s.o.CAFile}
	out.Service, _ = s.o.DPS.OwnerConnection(r.Context()) // absent when somebody has removed the policy
	hubs, _, err := s.o.DPS.Operator().LinkedHubs(r.Context(), "", dps.MaxPage)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	out.Hubs = hubs
	answer(w, out)
}

// serveDPS hands a request on to the service API of the provisioning service.
func (s *server) serveDPS(rest string, w http.ResponseWriter, r *http.Request) {
	if s.o.DPS == nil {
		s.fail(w, r, noDPS())
		return
	}
	s.pass(s.o.DPSRest, s.o.DPS.Host(), rest, w, r)
}
