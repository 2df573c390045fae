package node_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/oauth"
)

// simAPI is an application that calls the connectivity API of a node.
type simAPI struct {
	t     testing.TB
	http  *http.Client
	base  string
	token string
	ended map[string]bool // data sessions that closed has returned
}

// simApp registers an application that may do everything and gets its token.
func simApp(t testing.TB, k *navetest.Kit) *simAPI { return simAppOf(t, k, "hub") }

func simAppOf(t testing.TB, k *navetest.Kit, tenant string) *simAPI {
	return simAppNamed(t, k, tenant, "test")
}

func simAppNamed(t testing.TB, k *navetest.Kit, tenant, name string) *simAPI {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: k.Roots}, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", k.Node.Address("https"))
	}}
	t.Cleanup(transport.CloseIdleConnections)
	_, apps := k.Node.Connectivity()
	app, err := apps.CreateApp(context.Background(), tenant, oauth.AppDraft{Name: name, Contact: "test@example.com", Permissions: []oauth.Permission{
		{API: oauth.APIConnectivity, Version: oauth.APIVersion, Access: oauth.ReadWrite}, {API: oauth.APIPlatforms, Version: oauth.APIVersion, Access: oauth.ReadWrite}}})
	if err != nil {
		t.Fatal(err)
	}
	a := &simAPI{t: t, http: &http.Client{Transport: transport}, base: "https://" + navetest.Host + "/api/connectivity/v1/" + tenant, ended: map[string]bool{}}
	r, _ := http.NewRequest(http.MethodPost, "https://"+navetest.Host+"/oauth2/token", strings.NewReader("grant_type=client_credentials"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(app.Credentials[0].ClientID, app.Credentials[0].Secret)
	var token struct {
		Text string `json:"access_token"`
	}
	if status := a.do(r, &token); status != http.StatusOK {
		t.Fatal("token:", status)
	}
	a.token = token.Text
	return a
}

func (a *simAPI) do(r *http.Request, out any) int {
	a.t.Helper()
	resp, err := a.http.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && out != nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		a.t.Fatalf("%v: %s", err, text)
	}
	return resp.StatusCode
}

// call sends a request and wants one of these statuses.
func (a *simAPI) call(method, path, body string, out any, want ...int) {
	a.t.Helper()
	r, err := http.NewRequest(method, a.base+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+a.token)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	var raw json.RawMessage
	var to any
	if out != nil {
		to = &raw
	}
	status := a.do(r, to)
	for _, w := range want {
		if status == w {
			if out != nil && json.Unmarshal(raw, out) != nil {
				a.t.Fatalf("%s %s: %s", method, path, raw)
			}
			return
		}
	}
	a.t.Fatalf("%s %s: %d %s", method, path, status, raw)
}

// sim imports a SIM and links it to a device; offering may be empty.
func (a *simAPI) sim(offering, device string) string {
	a.t.Helper()
	var made struct {
		Entities []struct{ ID string }
	}
	a.call("POST", "/product", fmt.Sprintf(`{"account":"HUBSIM_1","sim":[{"offering":%q}]}`, offering), &made, 201)
	id := made.Entities[0].ID
	a.call("PUT", "/product/"+id+"/device", fmt.Sprintf(`{"deviceId":%q}`, device), nil, 201)
	return id
}

func (a *simAPI) status(sim, to string) string {
	a.t.Helper()
	var part struct{ Status string }
	a.call("PATCH", "/product/"+sim+"-simCard", fmt.Sprintf(`{"status":%q}`, to), &part, 200)
	return part.Status
}

// simSession is a data session.
type simSession struct {
	ID, State, Protocol, TerminateCause string
	UplinkBytes, DownlinkBytes          int64
}

// closed waits for a data session that it has not returned yet to be the newest
// and to end.
func (a *simAPI) closed(sim string) (s simSession) {
	a.t.Helper()
	until(a.t, "a data session of "+sim+" that has ended", func() bool {
		var all struct{ Entities []simSession }
		a.call("GET", "/product/"+sim+"/dataSession", "", &all, 200)
		if len(all.Entities) > 0 {
			s = all.Entities[0]
		}
		return s.State == "CLOSED" && !a.ended[s.ID]
	})
	a.ended[s.ID] = true
	return s
}

// used returns all usage of the day and the one before.
func (a *simAPI) used(sim string) (up, down int64) {
	a.t.Helper()
	var all struct {
		Entities []struct {
			Data struct{ UplinkBytes, DownlinkBytes int64 }
		}
	}
	from := time.Now().Add(-24 * time.Hour).UTC().Format("2006-01-02T15:04:05Z")
	a.call("GET", "/product/"+sim+"/usage?granularity=HOUR&from="+from, "", &all, 200)
	for _, e := range all.Entities {
		up, down = up+e.Data.UplinkBytes, down+e.Data.DownlinkBytes
	}
	return up, down
}

// tallied counts what passes after TLS.
type tallied struct {
	net.Conn
	up, down atomic.Int64
}

func (c *tallied) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.up.Add(int64(n))
	return n, err
}

func (c *tallied) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.down.Add(int64(n))
	return n, err
}

func refusedWith(t testing.TB, err error, code byte) {
	t.Helper()
	var e *mqtt.RefusedError
	if !errors.As(err, &e) || byte(e.Code) != code {
		t.Errorf("CONNECT ended with %v, want return code %d", err, code)
	}
}

// TestSIM plays connectivity-api 16.10 on a whole node: applications call its
// HTTPS listener with tokens, devices its MQTT listener.
func TestSIM(t *testing.T) {
	t.Parallel()
	k := navetest.Start(t)
	a := simApp(t, k)
	dev1 := k.Device("dev-1")
	s1 := a.sim("off-default", "dev-1")
	if got := a.status(s1, "ACTIVE"); got != "ACTIVE" {
		t.Fatal(got)
	}
	t.Run("SIM-170 metering equals the client's own count", func(t *testing.T) {
		up, down := a.used(s1)
		nc := &tallied{Conn: k.DialMQTT()}
		c, err := dial(t, nc, dev1)
		if err != nil {
			t.Fatal(err)
		}
		c.subscribe("devices/dev-1/messages/devicebound/#")
		for n := range 20 {
			c.send("dev-1", uint16(n+1), strings.Repeat("x", 50*n))
		}
		c.Close()
		await(t, c.closed, "end of the connection")
		s := a.closed(s1)
		nowUp, nowDown := a.used(s1)
		if u, d := nc.up.Load(), nc.down.Load(); u < 10_000 || d < 40 || nowUp-up != u || nowDown-down != d || s.UplinkBytes != u || s.DownlinkBytes != d ||
			s.TerminateCause != "DEVICE_DISCONNECT" || s.Protocol != "MQTT" {
			t.Errorf("the client wrote %d and read %d; usage grew by %d and %d; %+v", u, d, nowUp-up, nowDown-down, s)
		}
	})
	t.Run("SIM-166 suspended: cut off, refused with 5, told why", func(t *testing.T) {
		c := connect(t, k, dev1)
		a.status(s1, "SUSPENDED")
		await(t, c.closed, "end of the connection")
		if s := a.closed(s1); s.TerminateCause != "STATUS_CHANGE" {
			t.Errorf("%+v", s)
		}
		_, err := dial(t, k.DialMQTT(), dev1)
		refusedWith(t, err, 5)
		r := k.REST("POST", "/twins/dev-1/methods", `{"methodName":"reboot","responseTimeoutInSeconds":5}`)
		if r.Status != 404 || !strings.Contains(string(r.Body), "DeviceNotOnline") && r.Header.Get("iothub-errorcode") != "DeviceNotOnline" || !strings.Contains(string(r.Body), "SIM "+s1+" is SUSPENDED") {
			t.Errorf("a direct method: %d %s %s", r.Status, r.Header.Get("iothub-errorcode"), r.Body)
		}
		r = k.REST("GET", "/devices/dev-1", "")
		var shown struct {
			Connectivity struct{ ProductID, Status string }
		}
		if json.Unmarshal(r.Body, &shown) != nil || shown.Connectivity.ProductID != s1 || shown.Connectivity.Status != "SUSPENDED" {
			t.Errorf("the device: %s", r.Body)
		}
	})
	t.Run("SIM-167 active again", func(t *testing.T) {
		a.status(s1, "ACTIVE")
		connect(t, k, dev1).Close()
		a.closed(s1)
	})
	t.Run("SIM-168 a device without a link", func(t *testing.T) {
		connect(t, k, k.Device("dev-2"))
	})
	t.Run("SIM-176 an SMS reaches the device", func(t *testing.T) { smsReaches(t, k, a, dev1, s1) })
	t.Run("SIM-177 reset", func(t *testing.T) {
		c := connect(t, k, dev1)
		a.call("POST", "/product/"+s1+"/reset", "", nil, 200)
		await(t, c.closed, "end of the connection")
		if s := a.closed(s1); s.TerminateCause != "RESET" {
			t.Errorf("%+v", s)
		}
		connect(t, k, dev1)
	})
	t.Run("SIM-169 first use activates", func(t *testing.T) { firstUse(t, k, a) })
	t.Run("SIM-220 another IMEI", func(t *testing.T) { otherIMEI(t, k, a) })
}

func smsReaches(t *testing.T, k *navetest.Kit, a *simAPI, d *navetest.Device, sim string) {
	c := connect(t, k, d)
	c.subscribe("devices/" + d.ID.Device + "/messages/devicebound/#")
	var m struct{ ID, Status string }
	a.call("POST", "/product/"+sim+"/sms", `{"payload":"wake up"}`, &m, 201)
	if m.Status != "SUBMITTED" {
		t.Errorf("%+v", m)
	}
	if got := await(t, c.got, "message"); got.body != "wake up" || !strings.Contains(got.topic, "connectivity-sms=mt") {
		t.Errorf("%+v", got)
	}
	until(t, "the delivery", func() bool {
		a.call("GET", "/product/"+sim+"/sms/"+m.ID, "", &m, 200)
		return m.Status == "DELIVERED"
	})
	c.Close()
	a.closed(sim)
}

// otherIMEI puts a SIM that is locked to the IMEI of one device into another
// (RP-13).
func otherIMEI(t *testing.T, k *navetest.Kit, a *simAPI) {
	a.call("POST", "/productOffering", `{"id":"off-lock","name":"locked","account":"HUBSIM_1","imeiLock":true}`, nil, 201)
	device := func(name, imei string) *navetest.Device {
		d := k.Device(name)
		_, err := k.Backend.Put(context.Background(), nave.ID{Device: name}, &nave.IdentityPatch{IMEI: &imei}, "*")
		if err != nil {
			t.Fatal(err)
		}
		i, err := k.Backend.Device(context.Background(), d.ID)
		if err != nil {
			t.Fatal(err)
		}
		d.Key = i.Auth.Primary
		return d
	}
	first, other := device("imei-1", "350000000000006"), device("imei-2", "350000000000014")
	sim := a.sim("off-lock", "imei-1")
	a.status(sim, "ACTIVE")
	c := connect(t, k, first)
	a.call("PUT", "/product/"+sim+"/device", `{"deviceId":"imei-2","replace":true}`, nil, 200, 201)
	_, err := dial(t, k.DialMQTT(), other)
	refusedWith(t, err, 5)
	a.call("PUT", "/product/"+sim+"/device", `{"deviceId":"imei-1","replace":true}`, nil, 200, 201)
	c.Close()
	connect(t, k, first)
	connect(t, k, other) // without a link
}

// firstUse has a SIM activated by the first connection of its device (RP-4).
func firstUse(t *testing.T, k *navetest.Kit, a *simAPI) {
	a.call("POST", "/productOffering", `{"id":"off-first","name":"first use","account":"HUBSIM_1","activation":"FIRST_USE"}`, nil, 201)
	dev5 := k.Device("dev-5")
	s5 := a.sim("off-first", "dev-5")
	if got := a.status(s5, "ACTIVE"); got != "PENDING_ACTIVE" {
		t.Fatal(got)
	}
	connect(t, k, dev5)
	var history struct {
		Entities []struct {
			Kind, To string
			Actor    struct{ Type string }
		}
	}
	until(t, "the activation of "+s5, func() bool {
		a.call("GET", "/product/"+s5+"/history", "", &history, 200)
		return history.Entities[0].To == "ACTIVE"
	})
	if e := history.Entities[0]; e.Kind != "STATUS" || e.Actor.Type != "HUB" {
		t.Errorf("%+v", e)
	}
	var card struct {
		Status                string
		ProductCharacteristic []struct{ Name, Value string }
	}
	a.call("GET", "/product/"+s5+"-simCard", "", &card, 200)
	for _, c := range card.ProductCharacteristic {
		if c.Name == "dateActivated" && c.Value == "" || card.Status != "ACTIVE" {
			t.Errorf("%+v", card)
		}
	}
}
