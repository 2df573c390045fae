package dps

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/nave-hub/nave/internal/fault"
)

// ParseEnrollment reads an individual enrolment, or a group, as clients send it:
// names in canonical spelling, defaults filled in, read-only members dropped
// but for the etag, which may act as If-Match (dps 3.2, 3.9). Keys may still be
// missing. It answers DeserializationError, ArgumentNull, ArgumentInvalid, or a
// code of the ids and TPM keys.
func ParseEnrollment(b []byte, group bool) (*Enrollment, error) {
	e := &Enrollment{}
	if err := Decode(b, e); err != nil {
		return nil, err
	}
	return e, e.normalise(group)
}

// Decode reads the JSON body of a request into v, unknown members left out;
// DeserializationError with the place, or the fault that a type of ours found.
func Decode(b []byte, v any) error {
	err := jsonv2.Unmarshal(b, v)
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e
	}
	var syntax *jsontext.SyntacticError
	var shape *jsonv2.SemanticError
	switch {
	case errors.As(err, &syntax):
		return fault.DPSDeserializationError.Wrap(err, "the body is not JSON: it breaks off or is malformed at byte %d", syntax.ByteOffset)
	case errors.As(err, &shape) && shape.JSONPointer != "":
		return fault.DPSDeserializationError.Wrap(err, "the member %s of the body has the wrong JSON type", brief(string(shape.JSONPointer)))
	}
	return fault.DPSDeserializationError.Wrap(err, "the body is not a JSON object of the expected shape")
}

// UnmarshalJSON takes a missing member for its default, true.
func (p *ReprovisionPolicy) UnmarshalJSON(b []byte) error {
	type plain struct {
		UpdateHub   *bool `json:"updateHubAssignment"`
		MigrateData *bool `json:"migrateDeviceData"`
	}
	var v plain
	if err := jsonv2.Unmarshal(b, &v); err != nil {
		return err
	}
	p.UpdateHub = v.UpdateHub == nil || *v.UpdateHub
	p.MigrateData = v.MigrateData == nil || *v.MigrateData
	return nil
}

func isNull(v json.RawMessage) bool { return string(v) == "null" }

// checked returns a normalised copy of e.
func (e *Enrollment) checked() (*Enrollment, error) {
	c := *e
	if e.Attestation != nil {
		c.Attestation = e.Attestation.clone()
	}
	return &c, c.normalise(e.IsGroup())
}

// normalise checks what can be checked without the store. What it has been
// through once it leaves as it is.
func (e *Enrollment) normalise(group bool) error {
	e.dropReadOnly(group)
	for _, check := range []func(bool) error{e.checkIDs, e.checkWords, e.checkHubs, e.checkCustom, e.checkTwin} {
		if err := check(group); err != nil {
			return err
		}
	}
	if e.Attestation == nil {
		return fault.DPSArgumentNull.New("the member attestation is missing")
	}
	return e.Attestation.normalise(group)
}

func (e *Enrollment) dropReadOnly(group bool) {
	e.State, e.Created, e.Updated = nil, Time{}, Time{}
	if group {
		e.RegistrationID, e.DeviceID, e.Information = "", "", nil
	} else {
		e.GroupID = ""
	}
	if isNull(e.InitialTwin) {
		e.InitialTwin = nil
	}
	if isNull(e.Information) {
		e.Information = nil
	}
	if e.Capabilities == nil {
		e.Capabilities = &Capabilities{}
	}
	if e.Issuance != nil && e.Issuance.Authority == "" {
		e.Issuance = nil
	}
}

func (e *Enrollment) checkIDs(group bool) error {
	id := e.RegistrationID
	if group {
		id = e.GroupID
	}
	if err := checkID(id, group); err != nil {
		return err
	}
	if e.DeviceID != "" {
		return checkDeviceID(e.DeviceID)
	}
	return nil
}

// canonical returns the spelling of an enum value.
func canonical(member, text string, known ...string) (string, error) {
	for _, k := range known {
		if strings.EqualFold(k, text) {
			return k, nil
		}
	}
	return "", fault.DPSArgumentInvalid.New("%s is %q, known are %s", member, brief(text), strings.Join(known, ", "))
}

func (e *Enrollment) checkWords(bool) (err error) {
	if e.Provisioning == "" {
		e.Provisioning = ProvisioningEnabled
	}
	if e.Provisioning, err = canonical("provisioningStatus", e.Provisioning, ProvisioningEnabled, ProvisioningDisabled); err != nil {
		return err
	}
	if e.Allocation != "" {
		e.Allocation, err = canonical("allocationPolicy", e.Allocation, AllocateHashed, AllocateGeo, AllocateStatic, AllocateCustom)
	}
	return err
}

// checkHubs takes the older member iotHubHostName for a list of one.
func (e *Enrollment) checkHubs(bool) error {
	if e.HubHost != "" && len(e.Hubs) == 0 {
		e.Hubs = []string{e.HubHost}
		if e.Allocation == "" {
			e.Allocation = AllocateStatic
		}
	}
	var hubs []string
	for _, host := range e.Hubs {
		switch {
		case host == "":
			return fault.DPSArgumentInvalid.New("iotHubs has an empty name")
		case !containsFold(hubs, host):
			hubs = append(hubs, host)
		}
	}
	if e.Hubs = hubs; !containsFold(hubs, e.HubHost) {
		e.HubHost = ""
	}
	switch {
	case len(hubs) > maxHubs:
		return fault.DPSArgumentInvalid.New("iotHubs has %d names, at most %d hubs can be linked", len(hubs), maxHubs)
	case len(hubs) > 1 && e.Allocation == AllocateStatic:
		return fault.DPSArgumentInvalid.New("allocationPolicy static takes one hub, iotHubs has %d", len(hubs))
	}
	return nil
}

func containsFold(all []string, text string) bool {
	return slices.ContainsFunc(all, func(s string) bool { return strings.EqualFold(s, text) })
}

// maxURL bounds the address of a webhook, in bytes.
const maxURL = 2048

func (e *Enrollment) checkCustom(bool) error {
	c := e.Custom
	if c == nil {
		if e.Allocation == AllocateCustom {
			return fault.DPSArgumentInvalid.New("allocationPolicy custom needs customAllocationDefinition")
		}
		return nil
	}
	if c.URL == "" {
		return fault.DPSArgumentNull.New("customAllocationDefinition has no webhookUrl")
	}
	// The text of the URL stays out of errors: its query may hold a key.
	u, err := url.Parse(c.URL)
	if err != nil || len(c.URL) > maxURL || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return fault.DPSArgumentInvalid.New("webhookUrl of customAllocationDefinition is not an https URL of at most %d characters", maxURL)
	}
	if c.Version == "" {
		return fault.DPSArgumentNull.New("customAllocationDefinition has no apiVersion")
	}
	day, _ := strings.CutSuffix(c.Version, "-preview")
	if _, err := time.Parse(time.DateOnly, day); err != nil || day < policyVersion {
		return fault.DPSArgumentInvalid.New("apiVersion of customAllocationDefinition is %q, it must be a version from %s on", brief(c.Version), policyVersion)
	}
	return nil
}

func (e *Enrollment) checkTwin(bool) error {
	if e.Information != nil && e.Information[0] != '{' {
		return fault.DPSArgumentInvalid.New("optionalDeviceInformation is not an object")
	}
	_, err := ParseInitialTwin(e.InitialTwin)
	return err
}
