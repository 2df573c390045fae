package nave_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

func TestIdentityAppend(t *testing.T) {
	d := nave.Identity{ID: nave.ID{Device: "d"}, Generation: "638", ETag: "MA==", Status: nave.Disabled, StatusReason: "stolen", StatusUpdated: noon,
		Auth: nave.Auth{Type: nave.AuthSAS, Primary: "a=", Secondary: "b="}, Edge: true, DeviceScope: "s", ParentScopes: []string{"p"}, Attributes: []byte(`{"z": 1}`), Pending: 2}
	want := `{"deviceId":"d","generationId":"638","etag":"MA==","connectionState":"Disconnected","connectionStateUpdatedTime":"0001-01-01T00:00:00Z",` +
		`"status":"disabled","statusReason":"stolen","statusUpdatedTime":"2024-03-01T12:00:00.1234567Z","lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":2,` +
		`"authentication":{"symmetricKey":{"primaryKey":"a=","secondaryKey":"b="},"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"type":"sas"},` +
		`"capabilities":{"iotEdge":true},"deviceScope":"s","parentScopes":["p"],"attributes":{"z": 1}}`
	if got := string(d.Append(nil)); got != want {
		t.Errorf("device\n got %s\nwant %s", got, want)
	}
	m := nave.Identity{ID: nave.ID{Device: "d", Module: "m"}, ManagedBy: "iotEdge", Auth: nave.Auth{Type: nave.AuthSelfSigned, PrimaryThumbprint: "AB"}}
	want = `{"deviceId":"d","moduleId":"m","managedBy":"iotEdge","generationId":"","etag":"","connectionState":"Disconnected","connectionStateUpdatedTime":"0001-01-01T00:00:00Z",` +
		`"lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":0,` +
		`"authentication":{"symmetricKey":{"primaryKey":null,"secondaryKey":null},"x509Thumbprint":{"primaryThumbprint":"AB","secondaryThumbprint":null},"type":"selfSigned"}}`
	if got := string(m.Append(nil)); got != want {
		t.Errorf("module\n got %s\nwant %s", got, want)
	}
}

func parseIdentity(t *testing.T, body string, module bool) *nave.IdentityPatch {
	t.Helper()
	p, err := nave.ParseIdentity([]byte(body), module)
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return p
}

func TestParseIdentity(t *testing.T) {
	p := parseIdentity(t, `{"deviceId":5,"etag":"x","status":"DISABLED","statusReason":null,"connectionState":7,"capabilities":{"iotEdge":true},"parentScopes":["p"],
		"authentication":{"type":"SelfSigned","x509Thumbprint":{"primaryThumbprint":"ab"}},"attributes":{"b": 1.0, "a":[]}}`, false)
	if p.ID.Device != "5" || p.ETag != "x" || *p.Status != nave.Disabled || p.StatusReason != nil || !*p.Edge || (*p.ParentScopes)[0] != "p" || p.DeviceScope != nil {
		t.Errorf("%+v", p)
	}
	if p.Auth.Type != nave.AuthSelfSigned || p.Auth.PrimaryThumbprint != "ab" || string(p.Attributes) != `{"b": 1.0, "a":[]}` {
		t.Errorf("%+v, %s", p.Auth, p.Attributes)
	}
	p = parseIdentity(t, `{"moduleId":"m","managedBy":"me","status":"x","authentication":{"symmetricKey":{"primaryKey":null}}}`, true)
	if p.ID.Module != "m" || *p.ManagedBy != "me" || p.Status != nil || p.Auth.Type != nave.AuthSAS {
		t.Errorf("%+v", p)
	}
	if p = parseIdentity(t, `{"authentication":null,"capabilities":null}`, false); p.Auth != nil || p.Edge != nil || p.Status != nil {
		t.Errorf("%+v", p)
	}
	for body, part := range map[string]string{
		`{"deviceId":true}`:                                      "deviceId is a boolean",
		`{"status":1}`:                                           "status is a number, expected is a string",
		`{"statusReason":{}}`:                                    "statusReason is an object",
		`{"capabilities":[]}`:                                    "capabilities is an array",
		`{"capabilities":{"iotEdge":1}}`:                         "capabilities.iotEdge is a number, expected is a boolean",
		`{"parentScopes":"x"}`:                                   "parentScopes is a string",
		`{"parentScopes":["x",null]}`:                            "parentScopes[1] is null",
		`{"attributes":1}`:                                       "attributes is a number",
		`{"authentication":"sas"}`:                               "authentication is a string",
		`{"authentication":{"type":1}}`:                          "authentication.type is a number",
		`{"authentication":{"symmetricKey":{"secondaryKey":1}}}`: "authentication.symmetricKey.secondaryKey is a number",
		`{"authentication":{"x509Thumbprint":[]}}`:               "authentication.x509Thumbprint is an array",
	} {
		_, err := nave.ParseIdentity([]byte(body), false)
		wantFault(t, err, fault.ArgumentInvalid, part)
	}
}

func TestCreateIdentity(t *testing.T) {
	id := nave.ID{Device: "d"}
	i, err := parseIdentity(t, `{"deviceId":"d"}`, false).Create(id, noon, &limits)
	if err != nil || i.Status != nave.Enabled || i.Auth.Type != nave.AuthSAS || len(i.Auth.Primary) != 44 || i.Auth.Primary == i.Auth.Secondary || i.ETag == "" || len(i.Generation) != 18 || !i.StatusUpdated.IsZero() {
		t.Errorf("%+v, %v", i, err)
	}
	i, err = parseIdentity(t, `{"capabilities":{"iotEdge":true},"deviceScope":"mine","parentScopes":["up"]}`, false).Create(id, noon, &limits)
	if err != nil || i.DeviceScope != "ms-azure-iot-edge://d-"+i.Generation || i.Parent() != "up" {
		t.Errorf("edge: %+v, %v", i, err)
	}
	for _, body := range []string{`{"deviceScope":"up"}`, `{"parentScopes":["up"]}`, `{"deviceScope":"","parentScopes":["up"]}`, `{"deviceScope":"up","parentScopes":[]}`} {
		i, err = parseIdentity(t, body, false).Create(id, noon, &limits)
		if err != nil || i.DeviceScope != "up" || i.Parent() != "up" || len(i.ParentScopes) != 1 {
			t.Errorf("%s: %+v, %v", body, i, err)
		}
	}
	_, err = parseIdentity(t, `{"deviceId":"e"}`, false).Create(id, noon, &limits)
	wantFault(t, err, fault.ArgumentInvalid, "the path names")
	_, err = parseIdentity(t, `{"status":""}`, false).Create(id, noon, &limits)
	wantFault(t, err, fault.ArgumentInvalid, "status is empty")
	_, err = parseIdentity(t, `{"authentication":{"symmetricKey":{"primaryKey":"`+key16+`"}}}`, false).Create(id, noon, &limits)
	wantFault(t, err, fault.ArgumentInvalid, "one key")
}

func TestUpdateIdentity(t *testing.T) {
	id := nave.ID{Device: "d"}
	old, err := parseIdentity(t, `{"statusReason":"r","deviceScope":"up","attributes":{"a":1}}`, false).Create(id, noon, &limits)
	if err != nil {
		t.Fatal(err)
	}
	update := func(body string) *nave.Identity {
		t.Helper()
		i, err := parseIdentity(t, body, false).Update(old, noon, &limits)
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		return i
	}
	i := update(`{"authentication":{"type":"sas","symmetricKey":{"primaryKey":null,"secondaryKey":null}}}`)
	if i.Auth != old.Auth || i.StatusReason != "" || i.Parent() != "up" || i.Status != nave.Enabled || i.ETag == old.ETag || i.Generation != old.Generation || string(i.Attributes) != `{"a":1}` {
		t.Errorf("%+v", i)
	}
	if i = update(`{"status":"Disabled"}`); i.Status != nave.Disabled || i.StatusUpdated != noon || old.Status != nave.Enabled {
		t.Errorf("%+v", i)
	}
	if i = update(`{"authentication":{"type":"certificateAuthority"}}`); i.Auth != (nave.Auth{Type: nave.AuthCA}) {
		t.Errorf("%+v", i.Auth)
	}
	for _, body := range []string{`{"deviceScope":""}`, `{"parentScopes":[]}`, `{"deviceScope":"","parentScopes":[]}`} {
		if i = update(body); i.DeviceScope != "" || i.Parent() != "" || len(i.ParentScopes) != 0 {
			t.Errorf("%s: %+v", body, i)
		}
	}
	_, err = parseIdentity(t, `{"capabilities":{"iotEdge":true}}`, false).Update(old, noon, &limits)
	wantFault(t, err, fault.ArgumentInvalid, "iotEdge")
}

func FuzzIdentityBody(f *testing.F) {
	f.Add([]byte(`{"deviceId":"d","status":"enabled","authentication":{"type":"sas","symmetricKey":{"primaryKey":"`+key16+`","secondaryKey":"`+key16+`"}}}`), false)
	f.Add([]byte(`{"moduleId":"m","managedBy":"x","authentication":{"x509Thumbprint":{"primaryThumbprint":"`+sha1+`"}}}`), true)
	f.Add([]byte(`{"capabilities":{"iotEdge":true},"parentScopes":["p"],"attributes":{"a":1}}`), false)
	f.Fuzz(func(t *testing.T, b []byte, module bool) {
		p, err := nave.ParseIdentity(b, module)
		if err != nil {
			if !errors.Is(err, fault.ArgumentInvalid) && !errors.Is(err, fault.IotHubFormatError) {
				t.Fatal(err)
			}
			return
		}
		id := nave.ID{Device: "d"}
		if module {
			id.Module = "m"
		}
		i, err := p.Create(id, noon, &limits)
		if err != nil {
			return
		}
		if err := i.Check(&limits); err != nil {
			t.Fatalf("created what Check refuses: %v", err)
		}
		q, err := nave.ParseIdentity(i.Append(nil), module)
		if err != nil {
			t.Fatalf("%s: %v", i.Append(nil), err)
		}
		again, err := q.Update(i, noon, &limits)
		if err != nil || again.Auth != i.Auth || again.DeviceScope != i.DeviceScope || again.Status != i.Status && !module || strings.Join(again.ParentScopes, " ") != strings.Join(i.ParentScopes, " ") {
			t.Fatalf("%s written back gives %+v, %v", i.Append(nil), again, err)
		}
	})
}
