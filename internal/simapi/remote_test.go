package simapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/nave-hub/nave/internal/sim"
)

// remote is the scripted platform behind REMOTE_1. It stands for a system
// outside of the hub.
type remote struct {
	*httptest.Server
	mu     sync.Mutex
	status string           // of S8
	do     http.HandlerFunc // in place of the usual answers, nil: usual; called with mu free
	token  http.HandlerFunc // in place of the token endpoint
	seen   []string         // "METHOD path?query" of requests but the token's
	tokens int
	gone   chan struct{}
}

const remoteSecret = "remote-secret-0123456789"

func openRemote(t testing.TB) *remote {
	r := &remote{status: "ACTIVE", gone: make(chan struct{})}
	r.Server = httptest.NewServer(r)
	t.Cleanup(func() { close(r.gone); r.Server.Close() })
	return r
}

func (r *remote) account() sim.Account {
	return sim.Account{Account: "REMOTE_1", Platform: "RMT", Adapter: "http", AccountID: "100125", Enabled: true, Mode: sim.Sync,
		Settable: []sim.Status{sim.Active, sim.Suspended, sim.Terminated},
		HTTP: &sim.Remote{BaseURL: r.URL + "/api/connectivity/v1/far", TokenURL: r.URL + "/oauth2/token", ClientID: "7b2c", ClientSecret: remoteSecret,
			TimeoutMS: 60_000, TotalTimeoutMS: 60_000, ErrorMode: sim.Passthrough, SyncInterval: 900}}
}

// script replaces the usual answers.
func (r *remote) script(f http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.do, r.seen, r.tokens = f, nil, 0
}

// requests returns what was asked since script.
func (r *remote) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.seen...)
}

// answers returns a handler that always answers so.
func answers(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, h := range header {
			name, v, _ := strings.Cut(h, ": ")
			w.Header().Set(name, v)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func (r *remote) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	do, token := r.do, r.token
	if strings.HasPrefix(q.URL.Path, "/oauth2/") {
		r.tokens++
		do = token
	} else {
		r.seen = append(r.seen, q.Method+" "+strings.TrimPrefix(q.URL.RequestURI(), "/api/connectivity/v1/far"))
	}
	r.mu.Unlock()
	if do == nil {
		do = r.usual
	}
	do(w, q)
}

func (r *remote) usual(w http.ResponseWriter, q *http.Request) {
	path := strings.TrimPrefix(q.URL.Path, "/api/connectivity/v1/far")
	w.Header().Set("Content-Type", "application/json")
	switch {
	case path == "/oauth2/token":
		io.WriteString(w, `{"access_token":"far.token.x","expires_in":300,"refresh_expires_in":0,"token_type":"Bearer","scope":""}`)
	case q.Method == "PATCH":
		var ops []struct{ Value string }
		var merge struct{ Status string }
		body, _ := io.ReadAll(q.Body)
		if json.Unmarshal(body, &ops) == nil && len(ops) > 0 {
			merge.Status = ops[0].Value
		} else {
			json.Unmarshal(body, &merge)
		}
		r.mu.Lock()
		r.status = merge.Status
		r.mu.Unlock()
		io.WriteString(w, r.card())
	case path == "/product" && q.URL.Query().Get("pageNumber") != "" && q.URL.Query().Get("pageNumber") != "1":
		io.WriteString(w, `{"entities":[],"statistics":{"currentPage":2,"pageSize":100,"count":0,"totalCount":1},"links":[],"errors":[]}`)
	case path == "/product":
		io.WriteString(w, `{"entities":[`+r.product()+`],"statistics":{"currentPage":1,"pageSize":100,"count":1,"totalCount":1},"links":[{"type":"self","url":"x"}],"errors":[]}`)
	case strings.HasSuffix(path, "-simCard"):
		io.WriteString(w, r.card())
	default:
		io.WriteString(w, r.product())
	}
}

const farID = "HUBSIM-8900101000000000084"

func (r *remote) card() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf(`{"id":"%s-simCard","href":"x","isBundle":false,"status":"%s","productCharacteristic":[{"name":"ICCID","value":"%s"},{"name":"IMSI","value":"001010000000084"}],
		"@baseType":"product","@type":"simCard"}`, farID, r.status, farID[7:])
}

func (r *remote) product() string {
	card := r.card()
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf(`{"id":"%s","href":"x","name":"","isBundle":true,"isCustomerVisible":true,"startDate":"2026-01-10T08:00:00.000Z","status":"%s",
		"connectivityType":"CELLULAR","relatedParty":[{"id":"local","name":"FAR","role":"customer"}],"productOffering":{"id":"o","name":"Far"},
		"productCharacteristic":[{"name":"SYSTEM","value":"HUBSIM"},{"name":"ICCID","value":"%s"}],"productRelationship":[{"type":"BUNDLED","product":%s}],
		"device":null,"@baseType":"product","@type":"IoTConnection","correlationId":"e3f6b8a4-58a9-4a0e-8a35-8d9f6c8a2b11"}`, farID, r.status, farID[7:], card)
}
