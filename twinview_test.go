package nave_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

const fresh = `{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1}`

func TestFreshTwinViews(t *testing.T) {
	i := &nave.Identity{ID: nave.ID{Device: "d1"}, ETag: "MTIzNDU2Nzg5", Status: nave.Enabled}
	twin := nave.NewTwin(i.ID)
	twin.Tags = nave.Doc{"site": "a"}
	v := nave.TwinView{Twin: twin, Identity: i}
	want := `{"deviceId":"d1","etag":"AAAAAAAAAAE=","deviceEtag":"MTIzNDU2Nzg5","status":"enabled","statusUpdateTime":"0001-01-01T00:00:00Z",` +
		`"connectionState":"Disconnected","lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":0,"authenticationType":"sas",` +
		`"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"modelId":"","version":2,"tags":{"site":"a"},` +
		`"properties":{"desired":` + fresh + `,"reported":` + fresh + `},"capabilities":{"iotEdge":false}}`
	if got := string(v.Append(nil)); got != want {
		t.Errorf("service view\n got %s\nwant %s", got, want)
	}
	if got, want := string(twin.AppendDevice(nil)), `{"desired":{"$version":1},"reported":{"$version":1}}`; got != want {
		t.Errorf("device view %s", got)
	}
	if got, want := string(twin.AppendReplaceEvent(nil)), `{"deviceId":"d1","etag":"AAAAAAAAAAE=","version":2,"tags":{"site":"a"},"properties":{"desired":`+fresh+`,"reported":`+fresh+`}}`; got != want {
		t.Errorf("replace event %s", got)
	}
}

func TestModuleTwinViews(t *testing.T) {
	i := &nave.Identity{ID: nave.ID{Device: "d1", Module: "m"}, Pending: 3, Presence: nave.Presence{Connected: true, Activity: noon},
		Auth: nave.Auth{PrimaryThumbprint: "AB"}, StatusReason: "x", DeviceScope: "s", ParentScopes: []string{"s"}}
	v := nave.TwinView{Twin: nave.NewTwin(i.ID), Identity: i}
	want := `{"deviceId":"d1","moduleId":"m","etag":"AAAAAAAAAAE=","deviceEtag":"","status":"enabled","statusReason":"x","statusUpdateTime":"0001-01-01T00:00:00Z",` +
		`"connectionState":"Connected","lastActivityTime":"2024-03-01T12:00:00.1234567Z","cloudToDeviceMessageCount":3,"authenticationType":"selfSigned",` +
		`"x509Thumbprint":{"primaryThumbprint":"AB","secondaryThumbprint":null},"modelId":"","version":2,"tags":{},` +
		`"properties":{"desired":` + fresh + `,"reported":` + fresh + `},"capabilities":{"iotEdge":false},"deviceScope":"s","parentScopes":["s"]}`
	if got := string(v.Append(nil)); got != want {
		t.Errorf("service view\n got %s\nwant %s", got, want)
	}
	if got, want := string(v.Twin.AppendLifecycle(nil)), `{"deviceId":"d1","moduleId":"m","etag":"AAAAAAAAAAE=","version":2,"properties":{"desired":`+fresh+`,"reported":`+fresh+`}}`; got != want {
		t.Errorf("lifecycle %s", got)
	}
}

func TestMetadata(t *testing.T) {
	twin := nave.NewTwin(nave.ID{Device: "d"})
	apply(t, twin, nave.Patch{Desired: mustDoc(t, `{"a":{"b":1,"c":[1]},"d":1}`)})
	later := noon.Add(time.Second)
	c, err := twin.Apply(nave.Patch{Desired: mustDoc(t, `{"a":{"b":null,"e":1}}`), Reported: nave.Doc{}, Tags: mustDoc(t, `{"t":null}`)}, later, &limits)
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string, v int) string {
		return fmt.Sprintf(`"$lastUpdated":"2024-03-01T12:00:%s.1234567Z","$lastUpdatedVersion":%d`, s, v)
	}
	want := `{"a":{"c":[1],"e":1},"d":1,"$metadata":{` + at("01", 3) + `,"a":{` + at("01", 3) + `,"c":{` + at("00", 2) + `},"e":{` + at("01", 3) + `}},"d":{` + at("00", 2) + `}},"$version":3}`
	if got := string(twin.Desired.AppendService(nil)); got != want {
		t.Errorf("desired\n got %s\nwant %s", got, want)
	}
	want = `{"version":5,"tags":{"t":null},"properties":{"desired":{"a":{"b":null,"e":1},"$metadata":{` + at("01", 3) + `,"a":{` + at("01", 3) + `,"e":{` + at("01", 3) + `}}},"$version":3},` +
		`"reported":{"$metadata":{"$lastUpdated":"2024-03-01T12:00:01.1234567Z"},"$version":2}}}`
	if got := string(twin.AppendUpdateEvent(nil, &c)); got != want {
		t.Errorf("update event\n got %s\nwant %s", got, want)
	}
	stored := twin.Desired.Meta.Append(nil)
	m, err := nave.ParseMeta(stored)
	if err != nil || string(m.Append(nil)) != string(stored) {
		t.Fatalf("stored %s: %v", stored, err)
	}
	twin.Desired.Meta = m
	apply(t, twin, nave.Patch{Replace: true, Desired: mustDoc(t, `{"d":2}`)})
	if got, want := string(twin.Desired.AppendService(nil)), `{"d":2,"$metadata":{`+at("00", 4)+`,"d":{`+at("00", 4)+`}},"$version":4}`; got != want {
		t.Errorf("after a replacement %s", got)
	}
	c = apply(t, twin, nave.Patch{Tags: nave.Doc{}})
	if got := string(twin.AppendUpdateEvent(nil, &c)); got != `{"version":7,"tags":{}}` {
		t.Errorf("event of a tags-only write %s", got)
	}
}

func TestParseMeta(t *testing.T) {
	if m, err := nave.ParseMeta([]byte("0")); err != nil || !m.Updated.IsZero() || m.Version != 0 || m.Keys != nil {
		t.Errorf("fresh: %+v, %v", m, err)
	}
	for _, text := range []string{"", "x", "[1", "[1,2", `[1,2,3]`, `[1,2,{"a":}]`, `[1,2,{"a":1,"a":1}]`, "1.5", "[1,2]x", "99999999999999999999"} {
		if _, err := nave.ParseMeta([]byte(text)); !errors.Is(err, fault.IotHubFormatError) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestParsePatch(t *testing.T) {
	p, etag, err := nave.ParsePatch([]byte(`{"deviceId":"d","etag":"AAAAAAAAAAE=","tags":{"a":1},"properties":{"desired":{"b":null,"$version":3},"reported":{"c":1}}}`), false)
	if err != nil || etag != "AAAAAAAAAAE=" || len(p.Tags) != 1 || len(p.Desired) != 2 || p.Reported != nil || p.Replace {
		t.Errorf("%+v, %q, %v", p, etag, err)
	}
	p, _, err = nave.ParsePatch([]byte(`{"tags":null,"properties":{}}`), true)
	if err != nil || p.Tags != nil || p.Desired != nil || !p.Replace {
		t.Errorf("%+v, %v", p, err)
	}
	for _, body := range []string{`{"tags":[]}`, `{"properties":1}`, `{"properties":{"desired":"x"}}`, `[]`, `{`} {
		if _, _, err := nave.ParsePatch([]byte(body), false); !errors.Is(err, fault.IotHubFormatError) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// One twin read from the store, patched and written back.
func BenchmarkPatch(b *testing.B) {
	stored := mustDoc(b, `{"firmware":{"version":"1.4.2","channel":"stable","url":"https://example.org/fw/1.4.2.bin","sha256":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},`+
		`"telemetry":{"interval":30,"batch":10,"sensors":["t","h","p"]},"location":{"lat":52.52,"lon":13.405,"name":"Berlin Mitte"},"limits":{"low":-10.5,"high":45,"alarm":true},`+
		`"network":{"ssid":"plant-7","rssi":-61,"ip":"10.2.3.4"},"uptime":86400,"battery":87.5,"errors":0,"mode":"auto","operator":"night shift 3"}`)
	twin := nave.NewTwin(nave.ID{Device: "d"})
	apply(b, twin, nave.Patch{Reported: stored})
	doc, meta := twin.Reported.Data.Append(nil), twin.Reported.Meta.Append(nil)
	patch := []byte(`{"uptime":86430,"battery":87.4,"network":{"rssi":-63},"telemetry":{"interval":60}}`)
	b.ReportMetric(float64(len(doc)), "section-bytes")
	b.Run("parse+merge+append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			twin.Reported.Data, _ = nave.ParseDoc(doc)
			p, _ := nave.ParseDoc(patch)
			apply(b, twin, nave.Patch{Reported: p})
			twin.Reported.Data.Append(make([]byte, 0, 1024))
		}
	})
	b.Run("with metadata", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			twin.Reported.Data, _ = nave.ParseDoc(doc)
			twin.Reported.Meta, _ = nave.ParseMeta(meta)
			p, _ := nave.ParseDoc(patch)
			apply(b, twin, nave.Patch{Reported: p})
			twin.Reported.Meta.Append(twin.Reported.Data.Append(make([]byte, 0, 2048)))
		}
	})
}
