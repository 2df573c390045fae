package dpsapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nave-hub/nave/internal/dpsapi"
)

// TestOperator calls the service API as the node's operator.
func TestOperator(t *testing.T) {
	k := open(t)
	h := dpsapi.New(dpsapi.Options{Service: k.service}).Operator()
	call := func(method, path, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "https://"+serviceHost+path+"?api-version="+apiVersion, strings.NewReader(body)))
		return w
	}
	if w := call("PUT", "/enrollments/op-1", `{"registrationId":"op-1","attestation":{"type":"symmetricKey"}}`); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := call("POST", "/enrollments/op-1/attestationmechanism", ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "primaryKey") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for range 1100 { // more than serviceOperationsPerMinute
		if w := call("GET", "/enrollments/op-1", ""); w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if w := call("GET", "/nowhere", ""); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), `"errorCode":404000`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := call("PUT", "/"+idScope+"/registrations/op-1/register", `{}`); w.Code != http.StatusNotFound {
		t.Errorf("the device API is served: %d %s", w.Code, w.Body)
	}
}
