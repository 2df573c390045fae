package nave

import (
	"strings"

	"github.com/nave-hub/nave/internal/fault"
)

// MaxID is the greatest length of a device or module id in characters
// (service-api 5.1).
const MaxID = 128

// ID names a device, or a module of a device when Module is not empty. Ids are
// compared byte for byte.
type ID struct{ Device, Module string }

// String returns "device" or "device/module".
func (i ID) String() string {
	if i.Module == "" {
		return i.Device
	}
	return i.Device + "/" + i.Module
}

// IsModule says whether the id names a module.
func (i ID) IsModule() bool { return i.Module != "" }

// Parent returns the id of the device that a module belongs to; for a device,
// itself.
func (i ID) Parent() ID { return ID{Device: i.Device} }

// ParseID reads "device" or "device/module".
func ParseID(text string) (ID, error) {
	device, module, both := strings.Cut(text, "/")
	id := ID{device, module}
	if both && module == "" {
		return ID{}, fault.ArgumentInvalid.New("the module id after %q is empty", device+"/")
	}
	return id, id.Check()
}

// Check answers ArgumentInvalid unless both parts follow the id grammar of
// service-api 5.1.
func (i ID) Check() error {
	if err := checkID("device id", i.Device); err != nil {
		return err
	}
	if i.Module == "" {
		return nil
	}
	return checkID("module id", i.Module)
}

func checkID(kind, id string) error {
	switch {
	case id == "":
		return fault.ArgumentInvalid.New("the %s is empty", kind)
	case len(id) > MaxID:
		return fault.ArgumentInvalid.Over("id.maxLength", MaxID, len(id), "the %s is too long", kind)
	}
	for n := 0; n < len(id); n++ {
		if !idByte[id[n]] {
			return fault.ArgumentInvalid.New("the %s has the character %q at position %d, allowed are ASCII letters, digits and - : . + %% _ # * ? ! ( ) , = @ $ ' and semicolon", kind, first(id[n:]), n+1)
		}
	}
	return nil
}

var idByte = func() (ok [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-:.+%_#*?!(),=@;$'") {
		ok[c] = true
	}
	return ok
}()

// System module ids of an edge device (service-api 5.2).
const (
	EdgeAgent = "$edgeAgent"
	EdgeHub   = "$edgeHub"
)

// IsSystem says whether the id names a system module of an edge device.
func (i ID) IsSystem() bool { return i.Module == EdgeAgent || i.Module == EdgeHub }
