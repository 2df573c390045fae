package console

import (
	"net/http"
	"strings"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// Connectivity is the connectivity API as the console reaches it.
type Connectivity struct {
	Tenant func(h *hub.Hub) string                // the hub's tenant
	As     func(tenant, user string) http.Handler // the API for an operator of the tenant
}

// operatorName stands in the history of what the console changed.
const operatorName = "operator"

// simPrefixes begin the paths of the connectivity API and of application access
// management; the tenant follows.
var simPrefixes = []string{"/api/connectivity/v1/", "/api/applications/v1/"}

// tenantOf returns the tenant in a path of the connectivity API.
func tenantOf(path string) (tenant string, ok bool) {
	for _, prefix := range simPrefixes {
		if rest, found := strings.CutPrefix(path, prefix); found {
			tenant, _, _ = strings.Cut(rest, "/")
			return tenant, true
		}
	}
	return "", false
}

// noConnectivity answers where the connectivity API is off.
func noConnectivity() error {
	return refuse(fault.SIMApiDisabled, "Start the node with the setting connectivity.enabled=true, which is the default.", "the connectivity API is switched off on this node")
}

// connectivityAnswer is what programs need to reach the API.
type connectivityAnswer struct {
	Tenant   string `json:"tenant"`
	Endpoint string `json:"endpoint"` // as seen from here
	CAFile   string `json:"caFile,omitempty"`
}

func (s *server) showConnectivity(h *hub.Hub, w http.ResponseWriter, _ *http.Request) error {
	if s.o.Connectivity == nil {
		return noConnectivity()
	}
	return answer(w, connectivityAnswer{Tenant: s.o.Connectivity.Tenant(h), Endpoint: s.endpoint(h), CAFile: s.o.CAFile})
}

// serveConnectivity hands a request on to the API; addresses in its answer are
// those that programs call.
func (s *server) serveConnectivity(tenant string, w http.ResponseWriter, r *http.Request) {
	if s.o.Connectivity == nil {
		s.fail(w, r, noConnectivity())
		return
	}
	for _, h := range s.o.Hubs {
		if s.o.Connectivity.Tenant(h) == tenant {
			host := strings.TrimPrefix(s.endpoint(h), "https://")
			s.pass(s.o.Connectivity.As(tenant, operatorName), host, r.URL.EscapedPath(), w, r)
			return
		}
	}
	s.fail(w, r, fault.GenericNotFound.New("this node has no tenant %q", tenant))
}
