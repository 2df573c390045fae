package openapi_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/oauth"
	"github.com/nave-hub/nave/internal/sim"
	"github.com/nave-hub/nave/internal/simapi"
	"github.com/nave-hub/nave/internal/store"
)

// rig is a hub's connectivity API over TLS on loopback.
type rig struct {
	server *httptest.Server
	apps   *oauth.Apps
	sim    *sim.Service
}

const (
	fast = "HUBSIM-8900101000000000019"
	slow = "ASIM-8900101000000000076"
)

func start(t *testing.T) *rig {
	t.Helper()
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	db, err := store.Open(ctx, "sqlite::memory:", store.Options{Log: log})
	must(err)
	b, err := bus.Open(ctx, bus.Options{Dir: t.TempDir(), Log: log})
	must(err)
	g, err := gate.New(ctx, gate.Options{Hub: "hub.test", DB: db.Scope("hub.test"), Log: log})
	must(err)
	h, err := hub.Open(ctx, hub.Options{Host: "hub.test", DB: db.Scope("hub.test"), Bus: b, Gate: g, Log: log, Limits: nave.Defaults()})
	must(err)
	r := &rig{}
	r.server = httptest.NewUnstartedServer(nil)
	host := r.server.Listener.Addr().String()
	r.sim, err = sim.Open(ctx, sim.Options{Tenants: []sim.TenantOptions{{Name: "acme", Hub: h, DB: db.Scope("hub.test"), Gate: g}}, Bus: b,
		Key: bytes.Repeat([]byte{7}, 32), WorkEvery: 50 * time.Millisecond, Log: log})
	must(err)
	r.apps, err = oauth.OpenApps(ctx, oauth.AppsOptions{Host: host, DB: db, Bus: b, Log: log})
	must(err)
	r.server.Config.Handler = simapi.New(simapi.Options{Sim: r.sim, Apps: r.apps, Host: host, Log: log})
	r.server.StartTLS()
	t.Cleanup(func() {
		r.server.Close()
		r.apps.Close()
		if err := errors.Join(r.sim.Close(), h.Close(), g.Close(), b.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	x := r.sim.Tenant("acme").As(sim.Actor{Type: sim.User, ID: "operator", Rights: sim.Read | sim.Write | sim.Administer})
	for _, a := range []sim.Account{
		{Account: "HUBSIM_1", Platform: "HUBSIM", Adapter: sim.AdapterEmbedded, Enabled: true, Mode: sim.Sync},
		{Account: "ASIM_1", Platform: "ASIM", Adapter: sim.AdapterEmbedded, Enabled: true, Mode: sim.Async, Embedded: &sim.Embedded{AsyncDelay: 200}},
	} {
		_, err := x.CreatePlatform(ctx, a)
		must(err)
	}
	for account, iccid := range map[string]string{"HUBSIM_1": fast[7:], "ASIM_1": slow[5:]} {
		_, err := x.Import(ctx, account, []sim.SIM{{ICCID: iccid}}, sim.Origin{})
		must(err)
	}
	return r
}

// document fetches the OpenAPI document from the hub into a file.
func (r *rig) document(t *testing.T) (file string) {
	t.Helper()
	resp, err := r.server.Client().Get(r.server.URL + "/api/connectivity/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	file = filepath.Join(t.TempDir(), "openapi.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDocument(t *testing.T) {
	node := installed(t)
	run(t, nil, node, "validate.mjs", start(t).document(t))
}

func TestClient(t *testing.T) {
	node := installed(t)
	r := start(t)
	if err := os.MkdirAll("gen", 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, nil, node, "node_modules/openapi-typescript/bin/cli.js", r.document(t), "-o", "gen/client.ts")
	run(t, nil, node, "node_modules/typescript/bin/tsc", "-p", "tsconfig.json")
	app, err := r.apps.CreateApp(t.Context(), "acme", oauth.AppDraft{Name: "driver", Contact: "ops@example.com",
		Permissions: []oauth.Permission{{API: oauth.APIConnectivity, Version: oauth.APIVersion, Access: oauth.ReadWrite}}})
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	k := app.Credentials[0]
	run(t, []string{"NODE_EXTRA_CA_CERTS=" + ca, "NAVE_ORIGIN=" + strings.TrimSuffix(r.server.URL, "/"), "NAVE_TENANT=acme", "NAVE_CLIENT_ID=" + k.ClientID,
		"NAVE_CLIENT_SECRET=" + k.Secret, "NAVE_SIM=" + fast, "NAVE_SLOW_SIM=" + slow}, node, "out/driver.js")
}
