package simapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nave-hub/nave/internal/sim"
	"github.com/nave-hub/nave/internal/simapi"
)

// TestOperator calls the API as the console does.
func TestOperator(t *testing.T) {
	s := open(t, func(o *simapi.Options) {
		o.Limits = simapi.Limits{PerAddress: 1, PerTenant: 1, PerApp: 1}
		o.Abuse = simapi.Abuse{Enabled: true, Threshold: 2}
	})
	h := s.Operator("acme", "ann")
	call := func(method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "https://"+host+path, strings.NewReader(body))
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for range 5 {
		if w := call("GET", b+"/nothing", ""); w.Code != http.StatusNotFound || w.Header().Get("RateLimit-Limit") != "" {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if len(s.Bans()) > 0 {
		t.Error("an operator was banned")
	}
	for path, status := range map[string]int{"/api/connectivity/v1/other/product": 403, aam + "/application": 200, b + "/product": 200, b + "/platform": 200, "/api/x": 404} {
		if w := call("GET", path, ""); w.Code != status {
			t.Errorf("GET %s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := call("PATCH", b+"/product/"+s2+"-simCard", `{"status":"ACTIVE"}`); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := call("GET", b+"/product/"+s2+"/history", ""); !strings.Contains(w.Body.String(), `"actor":{"type":"USER","id":"ann"}`) {
		t.Errorf("%s", w.Body)
	}
	var ids []string
	for n := range 1001 {
		ids = append(ids, fmt.Sprintf(`"HUBSIM-%d"`, n))
	}
	body := `{"status":"ACTIVE","productId":[` + strings.Join(ids, ",") + `]}`
	if w := call("POST", b+"/task/productStatusChange", body); w.Code != 202 && w.Code != 200 {
		t.Errorf("a task of 1001: %d %.300s", w.Code, w.Body)
	}
	// Without a worker in between nothing of this one is begun.
	access := s.sim.Tenant("acme").As(sim.Actor{Type: sim.User, ID: "ann", Rights: sim.Read | sim.Write})
	k, err := access.StartTask(context.Background(), sim.TaskRequest{Status: sim.Suspended, Products: []string{s1}, Async: true})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "https://"+host+b+"/task/"+k.ID+"/cancel", nil)
	r.Header.Set("Authorization", "Bearer "+s.token(t, s.w))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != 404 || !strings.Contains(w.Body.String(), "endpoint_not_found") {
		t.Errorf("cancel by an application: %d %s", w.Code, w.Body)
	}
	if w := call("POST", b+"/task/"+k.ID+"/cancel", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"id":"`+k.ID) {
		t.Errorf("cancel: %d %s", w.Code, w.Body)
	}
}
