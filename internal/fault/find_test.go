package fault_test

import (
	"slices"
	"testing"

	"github.com/nave-hub/nave/internal/fault"
)

func TestFind(t *testing.T) {
	for _, c := range []struct {
		text  string
		first *fault.Code
		exact bool // first is the only answer
	}{
		{"404001", fault.DeviceNotFound, true},
		{" DeviceMessageLockLost ", fault.DeviceMessageLockLost, true},
		{"devicemessagelocklost", fault.DeviceMessageLockLost, true},
		{"DPSEnrollmentNotFound", fault.DPSEnrollmentNotFound, true},
		{"InternalServerError", fault.ServerError, true},
		{"amqp:link:stolen", fault.LinkCreationConflict, true},
		{"DeviceNotOnline", fault.DeviceNotOnline, false},
		{"DeviceNotOnlne", fault.DeviceNotOnline, false},
		{"devicenotfonud", fault.DeviceNotFound, true},
		{"404102", fault.DeviceNotOnlineOlder, true},
		{"lock lost", fault.DeviceMessageLockLost, false},
		{"queue full", fault.DeviceMaximumQueueDepthExceeded, false},
		{"the device is disabled", fault.DeviceDisabled, false},
		{"device not connected", fault.DeviceNotOnline, false},
		{`{"Message":"ErrorCode:DeviceNotFound;d1"}`, fault.DeviceNotFound, true},
		{"HTTP error 403004 while sending", fault.DeviceMaximumQueueDepthExceeded, true},
		{"429001", fault.ThrottlingException, false},
	} {
		found := fault.Find(c.text)
		if len(found) == 0 || found[0] != c.first || c.exact && len(found) != 1 {
			t.Errorf("Find(%q) = %v, want %v first", c.text, found, c.first)
		}
	}
	for _, text := range []string{"", "   ", "xyzzyplugh", "999999"} {
		if found := fault.Find(text); found != nil {
			t.Errorf("Find(%q) = %v", text, found)
		}
	}
	if near := fault.Find("404109"); !slices.Contains(near, fault.DeviceNotOnline) || len(near) > 5 {
		t.Errorf("Find(404109) = %v", near)
	}
	if both := fault.Find("rate_limited"); !slices.Equal(both, []*fault.Code{fault.ControlRateLimited, fault.SIMRateLimited}) {
		t.Errorf("Find(rate_limited) = %v", both)
	}
	for c := range fault.All() {
		if !slices.Contains(fault.Find(c.Name), c) {
			t.Errorf("%v is not found under its name", c)
		}
	}
}
