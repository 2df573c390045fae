package nave_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

func TestConnectivity(t *testing.T) {
	l := nave.Defaults()
	read := func(body string) (*nave.Identity, error) {
		p, err := nave.ParseIdentity([]byte(body), false)
		if err != nil {
			return nil, err
		}
		return p.Create(nave.ID{Device: "d1"}, time.Now(), &l)
	}
	shown := func(i *nave.Identity) string {
		_, after, _ := strings.Cut(string(i.Append(nil)), `,"connectivity":`)
		return strings.TrimSuffix(after, "}")
	}
	i, err := read(`{"deviceId":"d1"}`)
	if err != nil || strings.Contains(string(i.Append(nil)), "connectivity") {
		t.Errorf("%s, %v", i.Append(nil), err)
	}
	i, err = read(`{"connectivity":{"iccid":"8900101000000000019","imei":"350000000000006","productId":"x","status":"ACTIVE"}}`)
	if err != nil {
		t.Fatal(err)
	}
	if got := shown(i); got != `{"iccid":"8900101000000000019","imei":"350000000000006"}` {
		t.Errorf("a wish is shown as %s", got)
	}
	i.Connectivity = &nave.Connectivity{ProductID: "P-1", ICCID: "8900101000000000027", Status: "SUSPENDED", Platform: "P", Barred: true}
	if got := shown(i); got != `{"productId":"P-1","iccid":"8900101000000000027","status":"SUSPENDED","platform":"P"}` {
		t.Errorf("a link is shown as %s", got)
	}
	if got := i.Connectivity.Reason(); got != "SIM P-1 is SUSPENDED" {
		t.Error(got)
	}
	for _, bad := range []string{`{"connectivity":7}`, `{"connectivity":{"iccid":8900101000000000019}}`, `{"connectivity":{"iccid":"89"}}`,
		`{"connectivity":{"iccid":"1100101000000000019"}}`, `{"connectivity":{"imei":"3500000000000x6"}}`, `{"connectivity":{"imei":"35000000000000600"}}`} {
		if _, err := read(bad); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	p, err := nave.ParseIdentity([]byte(`{"moduleId":"m","connectivity":7}`), true)
	if err != nil || p.ICCID != nil {
		t.Errorf("of a module: %v", err)
	}
	p, err = nave.ParseIdentity([]byte(`{"connectivity":{"iccid":""}}`), false)
	if err != nil {
		t.Fatal(err)
	}
	if i, err = p.Update(i, time.Now(), &l); err != nil || i.WantICCID != "" || i.WantIMEI == "" || i.Connectivity == nil {
		t.Errorf("%+v, %v", i, err)
	}
}
