package dps

import (
	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// maxID is the longest registration or group id in characters (dps 1.2).
const maxID = 128

// CheckRegistrationID answers InvalidRegistrationId unless id has 1 to 128
// letters, digits and - . _ : and ends with a letter, a digit or a hyphen (dps
// 1.2).
func CheckRegistrationID(id string) error {
	if why := idProblem(id); why != "" {
		return fault.DPSInvalidRegistrationId.New("the registration id %s", why)
	}
	return nil
}

// CheckGroupID is CheckRegistrationID for ids of groups:
// InvalidEnrollmentGroupId.
func CheckGroupID(id string) error {
	if why := idProblem(id); why != "" {
		return fault.DPSInvalidEnrollmentGroupId.New("the enrollment group id %s", why)
	}
	return nil
}

// checkID checks the id of an enrolment of either sort.
func checkID(id string, group bool) error {
	if group {
		return CheckGroupID(id)
	}
	return CheckRegistrationID(id)
}

// mismatch is the answer to a body that names another id than the path.
func mismatch(path, body string, group bool) error {
	if body == "" {
		body = "nothing"
	}
	if group {
		return fault.DPSInvalidEnrollmentGroupId.New("the path names the group %q, enrollmentGroupId of the body %q", path, brief(body))
	}
	return fault.DPSInvalidRegistrationId.New("the path names the registration %q, registrationId of the body %q", path, brief(body))
}

func idProblem(id string) string {
	switch {
	case id == "":
		return "is empty"
	case len(id) > maxID:
		return "is longer than 128 characters"
	}
	for i := range len(id) {
		if !isAlphanumeric(id[i]) && id[i] != '-' && id[i] != '.' && id[i] != '_' && id[i] != ':' {
			return "has other characters than letters, digits and - . _ :"
		}
	}
	if last := id[len(id)-1]; !isAlphanumeric(last) && last != '-' {
		return "ends with other than a letter, a digit or a hyphen"
	}
	return ""
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// checkDeviceID answers ArgumentInvalid unless id may name a device of a hub.
func checkDeviceID(id string) error {
	if err := (nave.ID{Device: id}).Check(); err != nil {
		return fault.DPSArgumentInvalid.Wrap(err, "deviceId %q cannot name a device of a hub", brief(id))
	}
	return nil
}

// brief shortens what a client sent for a text.
func brief(s string) string {
	if len(s) > 140 {
		return s[:140] + "…"
	}
	return s
}
