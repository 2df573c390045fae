package dps_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hubhttp"
)

// afar puts the service API of the rig's hubs behind TLS and returns a client
// that finds them there by their host names.
func (k *rig) afar() *http.Client {
	servers := map[string]*httptest.Server{}
	for host, h := range k.hubs {
		servers[host] = httptest.NewTLSServer(hubhttp.New(hubhttp.Options{Hub: h, Log: quiet()}))
		k.t.Cleanup(servers[host].Close)
	}
	web := servers[hubA].Client().Transport.(*http.Transport).Clone()
	web.TLSClientConfig.ServerName = "example.com" // in the certificate of httptest
	web.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, _ := strings.Cut(address, ":")
		if s := servers[host]; s != nil {
			return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
		}
		return nil, errors.New("no such host")
	}
	k.t.Cleanup(web.CloseIdleConnections)
	return &http.Client{Transport: web, Timeout: time.Minute}
}

// connection returns a connection string of the hub with a policy that has the
// rights a link needs and no more.
func (k *rig) connection(host string) string {
	k.t.Helper()
	p := nave.Policy{Name: "dps", Rights: nave.RegistryRead | nave.RegistryWrite | nave.ServiceConnect, Primary: cred.NewKey(), Secondary: cred.NewKey()}
	if _, err := k.hubs[host].PutPolicy(context.Background(), p); err != nil {
		k.t.Fatal(err)
	}
	return "HostName=" + host + ";SharedAccessKeyName=dps;SharedAccessKey=" + p.Primary
}

func TestRemoteHub(t *testing.T) {
	var web *http.Client
	k := openRig(t, "sqlite::memory:", newOffset(), func(o *dps.Options) {
		o.Patience = 500 * time.Millisecond
		o.Remote = func(connection string) (dps.Target, error) { return dps.NewRemoteOver(connection, web) }
	})
	web = k.afar()
	ctx := context.Background()
	for _, host := range []string{hubA, hubB} {
		if _, err := k.PutLinkedHub(ctx, host, &dps.LinkedHub{Name: host, Connection: k.connection(host), Location: "north"}, dps.Match{}); err != nil {
			t.Fatal(err)
		}
	}
	e := k.enroll("far", hubsOf(hubA), initialTwin(startTwin))
	t.Run("DPS-218 create a device through the link", func(t *testing.T) {
		st := assigned(t, k.register(k.by(e, "far"), ""))
		i := k.device(hubA, "far")
		if st.AssignedHub != hubA || i == nil || i.Auth.Primary != e.Attestation.SymmetricKey.Primary || doc(k.twin(hubA, "far").Tags) != `{"site":"s1"}` {
			t.Errorf("%s, %+v", wire(t, st), i)
		}
		before := i.ETag
		assigned(t, k.register(k.by(e, "far"), ""))
		if after := k.device(hubA, "far").ETag; after != before {
			t.Error("rewritten without a change")
		}
	})
	t.Run("migration between remote hubs", func(t *testing.T) {
		k.live("far")
		k.move(e)
		st := assigned(t, k.register(k.by(e, "far"), ""))
		w := k.twin(hubB, "far")
		if st.AssignedHub != hubB || st.Substatus != dps.SubstatusMigrated || doc(w.Tags) != `{"room":"r2","site":"s1"}` || doc(w.Desired.Data) != `{"count":7,"rate":9}` || k.device(hubA, "far") != nil {
			t.Errorf("%s, twin %s %s", wire(t, st), doc(w.Tags), doc(w.Desired.Data))
		}
	})
	t.Run("new keys reach the hub", func(t *testing.T) {
		e = k.enrolled(e, func(e *dps.Enrollment) { e.Attestation.SymmetricKey.Secondary = cred.NewLongKey() })
		assigned(t, k.register(k.by(e, "far"), ""))
		if i := k.device(hubB, "far"); i.Auth.Secondary != e.Attestation.SymmetricKey.Secondary {
			t.Errorf("%+v", i.Auth)
		}
	})
	t.Run("DPS-221 key of the hub rotated outside", func(t *testing.T) {
		k.connection(hubB) // another key under the same name
		st := failed(t, k.register(k.by(e, "far"), ""), 401002)
		if !strings.Contains(st.ErrorMessage, "Unauthorized") || !strings.HasPrefix(st.ErrorMessage, "{") {
			t.Errorf("%q", st.ErrorMessage)
		}
	})
	t.Run("hub that cannot be reached", func(t *testing.T) {
		k.row(dps.KindHub, "gone.test", "", "", sealedHub(k, "gone.test"))
		f := k.enroll("nowhere", hubsOf("gone.test"))
		failed(t, k.register(k.by(f, "nowhere"), ""), 503001)
	})
	t.Run("errors of a target are the hub's", func(t *testing.T) {
		target, err := dps.NewRemoteOver(k.connection(hubA), web)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := target.Device(ctx, "no-such"); !errors.Is(err, fault.DeviceNotFound) {
			t.Error(err)
		}
		if err := target.DeleteDevice(ctx, "no-such"); err != nil {
			t.Error(err)
		}
		if err := target.Check(ctx); err != nil {
			t.Error(err)
		}
		if _, err := target.Place(ctx, "bad", &dps.Placement{Auth: nave.Auth{Type: nave.AuthSAS, Primary: "x", Secondary: "y"}}); !errors.Is(err, fault.ArgumentInvalid) {
			t.Error(err)
		}
		i, err := target.Place(ctx, "own-key", &dps.Placement{Auth: nave.Auth{Type: nave.AuthSAS}})
		if err != nil || i.Auth.Primary == "" || k.device(hubA, "own-key").Auth.Primary != i.Auth.Primary {
			t.Errorf("%+v, %v", i, err)
		}
		again, err := target.Place(ctx, "own-key", &dps.Placement{Auth: nave.Auth{Type: nave.AuthSAS}})
		if err != nil || again.Auth.Primary != i.Auth.Primary {
			t.Errorf("%+v, %v", again, err)
		}
	})
	t.Run("connection strings that are none", func(t *testing.T) {
		for _, text := range []string{"", "HostName=a", "HostName=a;SharedAccessKeyName=b", "HostName=a;DeviceId=d;SharedAccessKey=AAAA"} {
			if _, err := dps.NewRemote(text); !errors.Is(err, fault.DPSArgumentInvalid) {
				t.Errorf("%q: %v", text, err)
			}
		}
	})
}

func sealedHub(k *rig, host string) *dps.LinkedHub {
	l := &dps.LinkedHub{Name: host, Connection: "HostName=" + host + ";SharedAccessKeyName=x;SharedAccessKey=" + cred.NewKey()}
	l.Connection = dps.Seal(k.service, dps.KindHub+"/"+host, l.Connection)
	return l
}
