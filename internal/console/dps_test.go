package console_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nave-hub/nave/internal/console"
	"github.com/nave-hub/nave/internal/dpsapi"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/hubhttp"
)

// provisioned is a console with the node's provisioning service.
func provisioned(t *testing.T) *rig {
	t.Helper()
	r := start(t)
	s := r.Node.DPS()
	h := console.New(console.Options{Hubs: r.Node.Hubs(), Token: token, Node: "node-1", DPS: s, DPSRest: dpsapi.New(dpsapi.Options{Service: s}).Operator(),
		Rest: func(h *hub.Hub) http.Handler { return hubhttp.New(hubhttp.Options{Hub: h}).As(hub.Operator()) }})
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func TestDPS(t *testing.T) {
	r := provisioned(t)
	const rest, version = "/api/dps/rest", "?api-version=2021-10-01"
	var made struct{ ETag string }
	r.do(http.StatusOK, &made, "PUT", rest+"/enrollments/pump%3A1"+version, `{"registrationId":"pump:1","attestation":{"type":"symmetricKey"}}`)
	var about struct {
		Host, GlobalEndpoint, IDScope, Service string
		Enrollments                            int
		Hubs                                   []struct{ Name string }
	}
	r.do(http.StatusOK, &about, "GET", "/api/dps", "")
	if about.Host != "dps.hub.test" || about.GlobalEndpoint != about.Host || about.IDScope != r.Node.DPS().Scope() || about.Enrollments != 1 ||
		len(about.Hubs) != 1 || !strings.HasPrefix(about.Service, "HostName=dps.hub.test;SharedAccessKeyName=provisioningserviceowner;") {
		t.Errorf("%+v", about)
	}
	r.do(http.StatusUnauthorized, nil, "GET", rest+"/enrollments/pump%3A1"+version, "", "Authorization: Bearer wrong")
	r.do(http.StatusNotFound, nil, "GET", rest+"/enrollments/pump%3A2"+version, "")
	r.do(http.StatusPreconditionFailed, nil, "DELETE", rest+"/enrollments/pump%3A1"+version, "", `If-Match: "other"`)
	r.do(http.StatusNoContent, nil, "DELETE", rest+"/enrollments/pump%3A1"+version, "", "If-Match: "+made.ETag)
	var page string
	r.do(http.StatusOK, &page, "GET", "/", "")
	if !strings.Contains(page, "Provisioning service dps.hub.test") || strings.Contains(page, "SharedAccessKey=") {
		t.Error(page)
	}
}

func TestNoDPS(t *testing.T) {
	r := start(t)
	var text string
	for _, path := range []string{"/api/dps", "/api/dps/rest/enrollments/x"} {
		if r.do(http.StatusNotFound, &text, "GET", path, ""); !strings.Contains(text, "dps.enabled") {
			t.Error(text)
		}
	}
}
