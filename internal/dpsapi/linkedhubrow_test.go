package dpsapi_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/hubhttp"
)

// remoteHost is a hub that the provisioning service only reaches by its service
// API.
const remoteHost = "remote.test"

// withRemote opens a kit that can call remoteHost, whose web server is returned
// with it.
func withRemote(t *testing.T) (*kit, *hub.Hub) {
	t.Helper()
	var h *hub.Hub
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hubhttp.New(hubhttp.Options{Hub: h, Log: quiet()}).ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if !strings.HasPrefix(address, "remote") {
				address = "127.0.0.1:1" // nobody listens
			} else {
				address = web.Listener.Addr().String()
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}}}
	k := open(t, func(s *setup) {
		s.service.Remote = func(connection string) (dps.Target, error) { return dps.NewRemoteOver(connection, client) }
	})
	k.openHub(t, k.db.Scope(remoteHost), remoteHost)
	h = k.hubs[remoteHost]
	return k, h
}

// linking makes a policy on the hub and returns the body of a link with it.
func linking(t *testing.T, h *hub.Hub, name string, rights nave.Right) string {
	t.Helper()
	p, err := h.PutPolicy(within(t), nave.Policy{Name: name, Rights: rights})
	if err != nil {
		t.Fatal(err)
	}
	return `{"connectionString":"HostName=` + remoteHost + `;SharedAccessKeyName=` + name + `;SharedAccessKey=` + p.Primary + `","location":"here"}`
}

func TestLinkedHubRows(t *testing.T) {
	k, h := withRemote(t)
	c := k.owner(t)
	both, err := nave.ParseRight("RegistryWrite, ServiceConnect")
	if err != nil {
		t.Fatal(err)
	}
	body := linking(t, h, "provisioning", both)
	t.Run("DPS-218 link and create a device", func(t *testing.T) {
		c := c.in(t)
		x := c.do("PUT", "/linkedHubs/"+remoteHost, body).want(200, 0).is("name", remoteHost, "allocationWeight", "1", "applyAllocationPolicy", "true", "authenticationType", "KeyBased")
		if x.get("etag") == "" {
			t.Error(x.raw)
		}
		d := k.enrol(t, "remote-1", func(e *dps.Enrollment) { e.Hubs = []string{remoteHost} })
		d.assigned("").want(200, 0)
		if i := k.onHub(t, remoteHost, "remote-1"); i.Auth.Primary != d.key {
			t.Errorf("%+v", i.Auth)
		}
	})
	t.Run("DPS-218 rights that do not suffice", func(t *testing.T) {
		c := c.in(t)
		for name, rights := range map[string]nave.Right{"readonly": nave.RegistryRead | nave.ServiceConnect, "registry": nave.RegistryRead | nave.RegistryWrite, "service": nave.ServiceConnect} {
			x := c.do("PUT", "/linkedHubs/"+remoteHost, linking(t, h, "only"+name, rights), "If-Match: *").want(400, 400004)
			if !strings.Contains(x.get("message"), "connectionString") || strings.Contains(string(x.raw), "SharedAccessKey=") {
				t.Errorf("%s: %s", name, x.raw)
			}
		}
		c.do("PUT", "/linkedHubs/nowhere.test", strings.ReplaceAll(body, remoteHost, "nowhere.test")).want(503, 503001)
	})
	t.Run("DPS-219 weights", func(t *testing.T) {
		c := c.in(t)
		for _, weight := range []string{"0", "1001", "-1"} {
			c.do("PUT", "/linkedHubs/"+remoteHost, `{"allocationWeight":`+weight+`}`, "If-Match: *").want(400, 400004)
		}
		c.do("PUT", "/linkedHubs/"+remoteHost, `{"allocationWeight":"7"}`, "If-Match: *").want(400, 400012)
		c.do("PUT", "/linkedHubs/"+remoteHost, `{"allocationWeight":1000}`, "If-Match: *").want(200, 0).is("allocationWeight", "1000")
		c.do("PUT", "/linkedHubs/"+remoteHost, `{"allocationWeight":null}`, "If-Match: *").want(200, 0).is("allocationWeight", "1")
	})
	t.Run("DPS-220 the key is masked", func(t *testing.T) {
		c := c.in(t)
		x := c.do("GET", "/linkedHubs/"+strings.ToUpper(remoteHost), "").want(200, 0).is("name", remoteHost,
			"connectionString", "HostName="+remoteHost+";SharedAccessKeyName=provisioning;SharedAccessKey=****")
		c.do("PUT", "/linkedHubs/"+remoteHost, string(x.raw)).want(200, 0) // its etag acts as If-Match
		key := body[strings.Index(body, "SharedAccessKey=")+16 : strings.Index(body, "\",")]
		for _, path := range []string{"/linkedHubs", "/linkedHubs/" + remoteHost, "/settings"} {
			if x := c.do("GET", path, "").want(200, 0); strings.Contains(string(x.raw), key) {
				t.Errorf("%s shows the key", path)
			}
		}
		if got := c.do("GET", "/linkedHubs", "").want(200, 0).list("name"); len(got) != 3 {
			t.Error(got)
		}
		k.enrol(t, "remote-2", func(e *dps.Enrollment) { e.Hubs = []string{remoteHost} }).assigned("") // the masked key did not replace the stored one
	})
	t.Run("DPS-261 CODE-409210 conflicts", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/linkedHubs/"+remoteHost, body).want(409, 409210)
		c.do("PUT", "/linkedHubs/"+remoteHost, body, "If-None-Match: *").want(409, 409210)
		c.do("PUT", "/linkedHubs/another.test", body).want(409, 409210)
		c.do("PUT", "/linkedHubs/"+remoteHost, body, `If-Match: "stale"`).want(412, 412001)
		c.do("DELETE", "/linkedHubs/"+remoteHost, "", `If-Match: "stale"`).want(412, 412001)
		c.do("DELETE", "/linkedHubs/"+remoteHost, "").want(409, 409210)
		c.do("PUT", "/enrollments/pins", keyed("pins", `"iotHubs":["hub-a.test"]`)).want(200, 0)
		c.do("DELETE", "/linkedHubs/hub-a.test", "").want(409, 409210)
		c.do("DELETE", "/linkedHubs/hub-b.test", "").want(204, 0)
		c.do("DELETE", "/linkedHubs/hub-b.test", "").want(404, 404210)
		c.do("PUT", "/linkedHubs/hub-b.test", `{}`).want(400, 400005)
		c.do("PUT", "/linkedHubs/unknown.test", `{"local":true}`).want(400, 400004)
		c.do("PUT", "/linkedHubs/hub-b.test", `{"local":true}`).want(200, 0).is("local", "true")
		c.do("PUT", "/linkedHubs/x.test", `{"authenticationType":"SystemAssigned","local":true}`).want(400, 400004)
	})
	t.Run("DPS-221 the key is rotated outside", func(t *testing.T) {
		d := k.enrol(t, "remote-3", func(e *dps.Enrollment) { e.Hubs = []string{remoteHost} })
		linking(t, h, "provisioning", both)
		a := d.outcome("")
		if a.get("status") != "failed" || a.get("registrationState.errorCode") != "401002" || !strings.Contains(a.get("registrationState.errorMessage"), "IotHubUnauthorizedAccess") {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-251 CODE-404210 a hub that is not linked", func(t *testing.T) {
		c := c.in(t)
		c.do("GET", "/linkedHubs/none", "").want(404, 404210)
		c.do("DELETE", "/linkedHubs/"+remoteHost+"?force=true", "").want(204, 0)
		a := k.enrolled(t, "remote-3", c).outcome("")
		if a.get("status") != "failed" || a.get("registrationState.errorCode") != "404210" {
			t.Errorf("%s", a.raw)
		}
	})
}

// enrolled returns the device of an enrolment that is there.
func (k *kit) enrolled(t *testing.T, id string, c *caller) *device {
	t.Helper()
	return k.device(t, id).withKey(c.do("POST", "/enrollments/"+id+"/attestationmechanism", "").want(200, 0).get("symmetricKey.primaryKey"))
}

func TestLinkLocal(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	k.openHub(t, k.db.Scope("hub-c.test"), "hub-c.test")
	hosts := append([]string{"hub-c.test"}, hubHosts...)
	link := func() []string {
		if err := k.service.LinkLocal(within(t), hosts); err != nil {
			t.Fatal(err)
		}
		return c.do("GET", "/linkedHubs", "").want(200, 0).list("name")
	}
	if got := link(); len(got) != 3 {
		t.Error(got)
	}
	c.do("DELETE", "/linkedHubs/hub-c.test", "").want(204, 0)
	if got := link(); len(got) != 2 {
		t.Errorf("%v: what the operator has unlinked came back", got)
	}
	c.do("PUT", "/linkedHubs/hub-c.test", `{"local":true}`).want(200, 0)
	if got := link(); len(got) != 3 {
		t.Error(got)
	}
}

func TestInstance(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	x := c.do("GET", "/settings", "").want(200, 0).is("state", "Active", "allocationPolicy", "Hashed", "idScope", idScope, "serviceOperationsHostName", serviceHost, "sku.name", "S1")
	if strings.Contains(string(x.raw), "primaryKey") || strings.Contains(string(x.raw), c.key) {
		t.Error("the description shows keys")
	}
	c.do("PUT", "/settings", `{"allocationPolicy":"Static"}`).want(409, 409000)
	c.do("PUT", "/settings", `{"allocationPolicy":"Static"}`, `If-Match: "stale"`).want(412, 412001)
	x = c.do("PUT", "/settings", string(x.raw)).want(200, 0)
	c.do("PUT", "/settings", `{"allocationPolicy":"geolatency","sku":{"name":"S1","capacity":2}}`, "If-Match: "+x.get("etag")).want(200, 0).is("allocationPolicy", "GeoLatency", "sku.capacity", "2")
	c.do("GET", "/provisioningSettings/default", "").want(200, 0).is("allocationPolicy", "geoLatency")
	for _, bad := range []string{`{"allocationPolicy":"Custom"}`, `{"iotHubs":[]}`, `{"publicNetworkAccess":"Disabled"}`, `{"sku":{"name":"F1"}}`, `{"state":"Deleted"}`,
		`{"ipFilterRules":[{"filterName":"x","action":"Reject","ipMask":"nonsense"}]}`, `{"ipFilterRules":[{"filterName":"x","action":"Drop","ipMask":"10.0.0.0/8"}]}`,
		`{"authorizationPolicies":[{"keyName":"less","rights":"EnrollmentRead"}]}`, `{"authorizationPolicies":[{"keyName":"short","rights":"ServiceConfig","primaryKey":"YQ=="}]}`} {
		c.do("PUT", "/settings", bad, "If-Match: *").want(400, 400004)
	}
	t.Run("keys", func(t *testing.T) {
		c := c.in(t)
		list, _ := c.do("POST", "/listkeys", "").want(200, 0).at("value").([]any)
		if len(list) != 1 || list[0].(map[string]any)["primaryKey"] != c.key {
			t.Errorf("%v", list)
		}
		c.do("PUT", "/settings", `{"authorizationPolicies":[{"keyName":"provisioningserviceowner","rights":"ServiceConfig, EnrollmentRead"},{"keyName":"reader","rights":"enrollmentread"}]}`, "If-Match: *").want(200, 0)
		list, _ = c.do("POST", "/listkeys", "").want(200, 0).at("value").([]any)
		if len(list) != 2 || list[0].(map[string]any)["primaryKey"] != c.key || list[1].(map[string]any)["rights"] != "EnrollmentRead" {
			t.Errorf("%v", list)
		}
		reader := c.as("reader", list[1].(map[string]any)["secondaryKey"].(string))
		reader.do("GET", "/enrollments/none", "").want(404, 404201)
		reader.do("POST", "/listkeys", "").want(401, 401002)
		c.do("GET", "/registrations/none", "").want(401, 401002)
		if err := k.service.SetPolicy(within(t), &dps.Policy{Name: "set", Primary: c.key, Rights: dps.RegistrationRead}); err != nil {
			t.Fatal(err)
		}
		c.as("set", c.key).do("GET", "/registrations/none", "").want(404, 404202)
		if err := k.DeletePolicy(within(t), c.policy); err == nil {
			t.Error("the last policy with ServiceConfig was deleted")
		}
	})
	t.Run("IP filter", func(t *testing.T) {
		c := c.in(t)
		d := k.enrol(t, "filtered")
		rules := func(text string) *result {
			return c.do("PUT", "/settings", `{"ipFilterRules":[`+text+`]}`, "If-Match: *")
		}
		rules(`{"filterName":"no","action":"Reject","ipMask":"127.0.0.0/8","target":"deviceApi"}`).want(200, 0)
		d.register("").want(403, 403000)
		rules(`{"filterName":"first","action":"accept","ipMask":"127.0.0.1","target":"all"},{"filterName":"then","action":"Reject","ipMask":"0.0.0.0/0"}`).want(200, 0)
		d.assigned("")
		rules(`{"filterName":"v6","action":"Reject","ipMask":"::/0"}`).want(200, 0)
		d.lookup("").want(200, 0)
		c.do("PUT", "/settings", `{"state":"suspended"}`, "If-Match: *").want(200, 0)
		d.lookup("").want(403, 403000)
		rules("").want(200, 0).is("state", "Active")
		d.lookup("").want(200, 0)
		rules(`{"filterName":"all","action":"Reject","ipMask":"127.0.0.1/32","target":"serviceApi"}`).want(200, 0)
		c.do("GET", "/settings", "").want(403, 403000)
		d.lookup("").want(200, 0)
	})
}

// TestManagedInstance has management tools read the instance and send it back
// changed, in their form (dps 3.11).
func TestManagedInstance(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	const it = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/it"
	x := c.do("GET", it, "").want(200, 0).is("name", "it", "properties.allocationPolicy", "Hashed")
	back := c.do("PUT", it, strings.Replace(string(x.raw), "Hashed", "GeoLatency", 1)).want(200, 0).is("id", it, "properties.allocationPolicy", "GeoLatency", "sku.name", "S1")
	c.do("GET", "/settings", "").is("allocationPolicy", "GeoLatency", "etag", back.get("etag"))
	c.in(silent{t}).do("PUT", it, string(x.raw)).is("code", "PreconditionFailed", "httpStatusCode", "412")
	c.do("PUT", it, string(x.raw), "If-Match: *").want(200, 0).is("properties.allocationPolicy", "Hashed")
}
