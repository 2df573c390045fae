package hubmqtt

import (
	"strings"
	"testing"

	"github.com/nave-hub/nave"
)

func TestUsername(t *testing.T) {
	d, m := nave.ID{Device: "d"}, nave.ID{Device: "d", Module: "m"}
	for _, c := range []struct {
		name, text string
		want       login
	}{
		{"DEV-028 bare", "hub.test/d", login{"hub.test", d, ""}},
		{"bare module", "hub.test/d/m", login{"hub.test", m, ""}},
		{"trailing slash", "hub.test/d/", login{"hub.test", d, ""}},
		{"query", "hub.test/d/?api-version=2021-04-12&DeviceClientType=node%2F1", login{"hub.test", d, ""}},
		{"query without question mark", "hub.test/d/api-version=2018-06-30", login{"hub.test", d, ""}},
		{"DEV-029 old slash form", "hub.test/d/api-version=2017-06-30/DeviceClientType=x/model-id=dtmi:a;1", login{"hub.test", d, "dtmi:a;1"}},
		{"DEV-030 raw model id", "hub.test/d/?api-version=2021-04-12&model-id=dtmi:com:x;1&DeviceClientType=n", login{"hub.test", d, "dtmi:com:x;1"}},
		{"encoded model id", "hub.test/d/?api-version=x&model-id=dtmi%3Acom%3Ax%3B1", login{"hub.test", d, "dtmi:com:x;1"}},
		{"stray percent", "hub.test/d/?api-version=x&model-id=a%zz", login{"hub.test", d, "a%zz"}},
		{"plus stays", "hub.test/d/?api-version=x&model-id=a+b", login{"hub.test", d, "a+b"}},
		{"first duplicate wins", "hub.test/d/?model-id=a&model-id=b&api-version=x", login{"hub.test", d, "a"}},
		{"DEV-033 module and query", "hub.test/d/m/?api-version=x", login{"hub.test", m, ""}},
		{"module and bare query", "hub.test/d/m/api-version=x", login{"hub.test", m, ""}},
		{"auth-chain is ignored", "hub.test/d/?api-version=x&auth-chain=d%3Bedge", login{"hub.test", d, ""}},
		{"DEV-034 odd id", "hub.test/dev#+/?api-version=x", login{"hub.test", nave.ID{Device: "dev#+"}, ""}},
		{"percent in id", "hub.test/d%2Fe/?api-version=x", login{"hub.test", nave.ID{Device: "d%2Fe"}, ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := parseUsername(c.text); err != nil || got != c.want {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
	for _, text := range []string{"", "hub.test", "hub.test/", "/d", "//", "hub.test/d/m/x", "hub.test/d e/?api-version=1",
		"hub.test/" + strings.Repeat("x", 129), "hub.test/d\x01"} {
		if got, err := parseUsername(text); err == nil {
			t.Errorf("%q: accepted as %+v", text, got)
		}
	}
}

func FuzzUsername(f *testing.F) {
	for _, s := range []string{"", "h/d", "h/d/m", "h/d/?api-version=1&model-id=a%3A", "h/d/api-version=1/model-id=x", "h/d/m/?&=&", "h//", "h/d/?model-id=%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseUsername(text)
		if err != nil {
			return
		}
		if err := l.id.Check(); err != nil || l.host == "" {
			t.Fatalf("%q gave %+v: %v", text, l, err)
		}
		if !strings.HasPrefix(text, l.host+"/"+l.id.String()) {
			t.Fatalf("%q gave %+v, which is not how it begins", text, l)
		}
	})
}
