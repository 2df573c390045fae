package hubmqtt

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

func app(name, value string) nave.Property {
	return nave.Property{Name: name, Value: value, HasValue: true}
}

func TestParseBag(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 600_000_000, time.UTC)
	for _, c := range []struct {
		name, bag string
		want      nave.Message
	}{
		{"nothing", "", nave.Message{}},
		{"DEV-078 system and application properties", "%24.mid=1&%24.cid=2&%24.ct=application%2Fjson&%24.ce=utf-8&k=v%20w", nave.Message{
			System: nave.System{MessageID: "1", CorrelationID: "2", ContentType: "application/json", ContentEncoding: "utf-8"}, App: []nave.Property{app("k", "v w")}}},
		{"DEV-079 user property first", "k=v&%24.mid=1", nave.Message{System: nave.System{MessageID: "1"}, App: []nave.Property{app("k", "v")}}},
		{"DEV-080 unescaped dollar", "$.mid=1", nave.Message{System: nave.System{MessageID: "1"}}},
		{"escaped dot", "%24%2Emid=1", nave.Message{System: nave.System{MessageID: "1"}}},
		{"DEV-081 raw value", "a=b/c%", nave.Message{App: []nave.Property{app("a", "b/c%")}}},
		{"DEV-082 slash at the end", "a=b/", nave.Message{App: []nave.Property{app("a", "b")}}},
		{"DEV-083 no equals sign", "a&b=", nave.Message{App: []nave.Property{{Name: "a"}, app("b", "")}}},
		{"DEV-084 plus", "a=b+c", nave.Message{App: []nave.Property{app("a", "b+c")}}},
		{"DEV-085 special characters", "%26ey1=%3Dal1&K%2Fy2=V%40l2&Ke%3F3=Va%253", nave.Message{App: []nave.Property{app("&ey1", "=al1"), app("K/y2", "V@l2"), app("Ke?3", "Va%3")}}},
		{"DEV-085 the same raw", "K/y2=V@l2&Ke?3=Va%3", nave.Message{App: []nave.Property{app("K/y2", "V@l2"), app("Ke?3", "Va%3")}}},
		{"DEV-086 component", "%24.sub=thermostat1", nave.Message{System: nave.System{Subject: "thermostat1"}}},
		{"DEV-087 output", "%24.on=output1/", nave.Message{System: nave.System{Output: "output1"}}},
		{"DEV-088 interface", "%24.ifid=urn:azureiot:Security:SecurityAgent:1", nave.Message{System: nave.System{Interface: "urn:azureiot:Security:SecurityAgent:1"}}},
		{"question mark", "?a=b", nave.Message{App: []nave.Property{app("a", "b")}}},
		{"further equals signs", "a=b=c==", nave.Message{App: []nave.Property{app("a", "b=c==")}}},
		{"empty pieces", "&&a=b&&=x&", nave.Message{App: []nave.Property{app("a", "b")}}},
		{"last duplicate wins", "a=1&b=2&a=3", nave.Message{App: []nave.Property{app("a", "3"), app("b", "2")}}},
		{"to is ignored", "%24.to=%2Fx", nave.Message{}},
		{"broken escapes", "a%=%4&b=%zz%41", nave.Message{App: []nave.Property{app("a%", "%4"), app("b", "%zzA")}}},
		{"not UTF-8", "a=%ff", nave.Message{App: []nave.Property{app("a", "%ff")}}},
		{"UTF-8", "a=%c3%a4", nave.Message{App: []nave.Property{app("a", "ä")}}},
		{"unknown system key", "%24.new=1", nave.Message{App: []nave.Property{app("$.new", "1")}}},
		{"expiry in milliseconds", "%24.exp=2030-01-02T03%3A04%3A05.600Z", nave.Message{System: nave.System{Expiry: at}}},
		{"expiry in ticks", "%24.exp=2030-01-02T03:04:05.6000000Z", nave.Message{System: nave.System{Expiry: at}}},
		{"expiry with offset", "%24.exp=2030-01-02T05:04:05.6%2B02:00", nave.Message{System: nave.System{Expiry: at}}},
		{"expiry without zone", "%24.exp=2030-01-02T03:04:05.600000", nave.Message{System: nave.System{Expiry: at}}},
		{"others", "iothub-ack=full&iothub-operation=o&%24.uid=u&%24.ctime=c&%24.schema=s&%24.diagid=i&%24.diagctx=x", nave.Message{System: nave.System{
			Ack: nave.AckFull, Operation: "o", UserID: "u", Created: "c", Schema: "s", DiagID: "i", DiagContext: "x"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m nave.Message
			if err := parseBag(c.bag, &m); err != nil || !reflect.DeepEqual(m, c.want) {
				t.Errorf("got %+v, %v; want %+v", m, err, c.want)
			}
		})
	}
	var m nave.Message
	if err := parseBag("a=b&$.exp=tomorrow", &m); !errors.Is(err, fault.ArgumentInvalid) {
		t.Errorf("an expiry that is no time gave %v", err)
	}
}

func TestParseBagManyProperties(t *testing.T) {
	var bag strings.Builder
	for n := range 5000 {
		fmt.Fprintf(&bag, "&k%d=%d", n%4000, n)
	}
	var m nave.Message
	if err := parseBag(bag.String(), &m); err != nil || len(m.App) != 4000 {
		t.Fatalf("%d properties, %v", len(m.App), err)
	}
	for _, want := range []nave.Property{app("k0", "4000"), app("k999", "4999"), app("k1000", "1000")} {
		if got, _ := m.AppValue(want.Name); got != want.Value {
			t.Errorf("%s is %s, want %s", want.Name, got, want.Value)
		}
	}
}

func TestCommandTopic(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name string
		on   nave.ID
		m    nave.Message
		want string
	}{
		{"DEV-096 with properties", dev, nave.Message{System: nave.System{MessageID: "7f5c", To: "/devices/d/messages/deviceBound", ContentType: "text/plain; charset=UTF-8",
			ContentEncoding: "utf-8", Ack: nave.AckFull}, App: []nave.Property{app("name1", "a value=1")}},
			"devices/d/messages/devicebound/%24.mid=7f5c&%24.to=%2Fdevices%2Fd%2Fmessages%2FdeviceBound&%24.ct=text%2Fplain%3B%20charset%3DUTF-8&%24.ce=utf-8&iothub-ack=full&name1=a%20value%3D1"},
		{"DEV-097 letter case of to", dev, nave.Message{System: nave.System{To: "/devices/d/messages/deviceBound"}}, "devices/d/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmessages%2FdeviceBound"},
		{"DEV-098 without properties", dev, nave.Message{}, "devices/d/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmessages%2Fdevicebound"},
		{"DEV-099 expiry", dev, nave.Message{System: nave.System{To: "x", Expiry: at}}, "devices/d/messages/devicebound/%24.to=x&%24.exp=2030-01-02T03%3A04%3A05.0000000Z"},
		{"module", module, nave.Message{}, "devices/d/modules/m/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmodules%2Fm%2Fmessages%2Fdevicebound"},
		{"empty values and names are left out", dev, nave.Message{System: nave.System{To: "x", Ack: nave.AckNone}, App: []nave.Property{app("a", ""), {Name: "b"}, app("", "c"), app("d", "e")}},
			"devices/d/messages/devicebound/%24.to=x&d=e"},
		{"no foreign system keys", dev, nave.Message{System: nave.System{To: "x"}, App: []nave.Property{app("$.mid", "1"), app("iothub-ack", "full")}}, "devices/d/messages/devicebound/%24.to=x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(appendCommandTopic(nil, &nave.C2D{Message: c.m, On: c.on})); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func FuzzBag(f *testing.F) {
	for _, s := range []string{"", "a=b", "%24.mid=1&k=v%20w", "a=b/c%/", "?a&b=&=c", "%24.exp=2030-01-01T00:00:00Z", "a=%ff&%c3%a4=ä"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, bag string) {
		var m nave.Message
		if parseBag(bag, &m) != nil {
			return
		}
		seen := map[string]bool{}
		for _, p := range m.App {
			if p.Name == "" || seen[p.Name] || !p.HasValue && p.Value != "" {
				t.Fatalf("%q gave %+v", bag, m.App)
			}
			seen[p.Name] = true
		}
	})
}

// FuzzAssign sends a property from a back end through a command topic and
// reads it back as a device would write it.
func FuzzAssign(f *testing.F) {
	for _, s := range [][2]string{{"$.mid", "1"}, {"$.to", "/x"}, {"$.exp", "2030-01-01T00:00:00.1234567Z"}, {"iothub-ack", "full"}, {"k&=/", "v%20+\x00ü"}, {"$.ct", "a b"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		var m nave.Message
		known, err := assign(&m.System, key, value)
		if err != nil {
			return
		}
		if !known {
			m.SetApp(key, value, true)
		}
		c := nave.C2D{Message: m, On: dev}
		topic := string(appendCommandTopic(nil, &c))
		bag, ok := strings.CutPrefix(topic, "devices/d/messages/devicebound/%24.")
		if !ok || strings.ContainsAny(bag, "/+# ?$") || strings.Contains(bag, "&&") || strings.HasSuffix(bag, "=") {
			t.Fatalf("topic %q", topic)
		}
		var back nave.Message
		if err := parseBag("%24."+bag, &back); err != nil {
			t.Fatalf("%q: %v", topic, err)
		}
		shown := known || strings.HasPrefix(key, "$.") || key == "" || value == ""
		if got, has := back.AppValue(key); !shown && validText(key, value) && (!has || got != value) {
			t.Fatalf("%q=%q became %+v", key, value, back)
		}
		if back.System.MessageID != m.System.MessageID && validText(key, value) || !back.System.Expiry.Equal(m.System.Expiry) {
			t.Fatalf("%q=%q became %+v", key, value, back.System)
		}
	})
}

// validText says whether the texts survive the rule that an escaped text which
// is no UTF-8 stays escaped.
func validText(texts ...string) bool {
	for _, s := range texts {
		if strings.ToValidUTF8(s, "") != s {
			return false
		}
	}
	return true
}
