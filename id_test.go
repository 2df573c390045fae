package nave_test

import (
	"strings"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

func TestIDs(t *testing.T) {
	long := strings.Repeat("x", 128)
	for _, text := range []string{"d", "d/m", "d-:.+%_#*?!(),=@$';9", "edge/$edgeAgent", long, long + "/" + long} {
		id, err := nave.ParseID(text)
		if err != nil || id.String() != text || id.IsModule() != strings.Contains(text, "/") || id.Parent().IsModule() {
			t.Errorf("%s: %+v, %v", text, id, err)
		}
	}
	for text, part := range map[string]string{"": "device id is empty", "d/": "module id after", "/m": "device id is empty", "a b": `" " at position 2`, "ä": `"ä" at position 1`,
		"d/a/b": `"/"`, long + "x": "limit 128, setting id.maxLength, observed 129", "d/" + long + "x": "module id is too long", "d\x00": "position 2"} {
		_, err := nave.ParseID(text)
		wantFault(t, err, fault.ArgumentInvalid, part)
	}
	if !(nave.ID{Device: "d", Module: nave.EdgeHub}).IsSystem() || (nave.ID{Device: "$edgeHub"}).IsSystem() {
		t.Error("system modules are told apart wrongly")
	}
}

func TestRights(t *testing.T) {
	for text, want := range map[string]nave.Right{
		"RegistryRead":                     nave.RegistryRead,
		"RegistryWrite":                    nave.RegistryRead | nave.RegistryWrite,
		"registryreadwrite, DeviceConnect": nave.RegistryRead | nave.RegistryWrite | nave.DeviceConnect,
		" ServiceConnect ,RegistryRead":    nave.ServiceConnect | nave.RegistryRead,
	} {
		if got, err := nave.ParseRight(text); got != want || err != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if back, err := nave.ParseRight(want.String()); back != want || err != nil {
			t.Errorf("%s read back: %v, %v", want, back, err)
		}
	}
	for _, text := range []string{"", "Owner", "RegistryRead,"} {
		_, err := nave.ParseRight(text)
		wantFault(t, err, fault.ArgumentInvalid, "unknown")
	}
	all := nave.DefaultPolicies()
	if len(all) != 5 || !all[0].Rights.Has(nave.RegistryWrite|nave.DeviceConnect) || all[1].Rights.Has(nave.RegistryRead) {
		t.Errorf("%+v", all)
	}
}

func TestMethodNames(t *testing.T) {
	for _, name := range []string{"reboot", "a.b-c_d*!~'&%+#^|`", strings.Repeat("m", 100)} {
		wantFault(t, nave.CheckMethod(name), nil, "")
	}
	for _, c := range "$()<>@,;:\\\"/[]?={} \t\x7fä" {
		wantFault(t, nave.CheckMethod("a"+string(c)), fault.ArgumentInvalid, "position 2")
	}
	wantFault(t, nave.CheckMethod(""), fault.ArgumentInvalid, "empty")
	wantFault(t, nave.CheckMethod(strings.Repeat("m", 101)), fault.ArgumentInvalid, "observed 101")
}
