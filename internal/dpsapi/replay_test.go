package dpsapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/gate"
)

// The replays are clients written after what the specification records of SDKs
// that cannot be had here: they send what the SDK sends, and whatever it would
// not stand is an error. They do not replace a run of the SDK.

// told is what an SDK makes of an answer to a device.
type told struct {
	operation, status string
	wait              int // seconds until the next poll, as clamped by the SDK
	state             map[string]any
	raw               []byte
}

func (x *told) at(name string) string {
	if v := x.state[name]; v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

// denied is an error that an SDK reports in its usual form. Any other error
// means that the SDK breaks on what it got.
type denied struct {
	status, code int // code is the errorCode, 0 when the SDK sees none
	wait         int // seconds, 0 without a hint
	transient    bool
	text         string
}

func (e *denied) Error() string {
	return fmt.Sprintf("refused with %d %d: %s", e.status, e.code, e.text)
}

// talk is an SDK's conversation with the service on one transport.
type talk interface {
	register() (*told, error)
	poll(operation string) (*told, error)
}

// sdk is a replay; dial connects a device, whose body of a register may hold a
// payload.
type sdk struct {
	name       string
	transports []string
	version    string
	again      string // substatus of a second register
	retries    bool   // a poll that is refused for the time being is repeated over every transport but those that are final
	final      string // transports on which every refusal is the end, a blank behind each
	dial       func(d *device, transport, payload string) (talk, error)
}

// provision registers and polls as all SDKs do, until the operation is over.
func (s *sdk) provision(d *device, transport, payload string) (*told, error) {
	d.t.Helper()
	c, err := s.dial(d.withVersion(s.version), transport, payload)
	if err != nil {
		return nil, err
	}
	x, err := c.register()
	if err != nil {
		return nil, err
	}
	operation := x.operation
	for until, pause := time.Now().Add(patience), time.Millisecond; x.status == "assigning"; pause *= 4 {
		if time.Now().After(until) {
			return nil, errors.New("the operation does not end")
		}
		d.pass(time.Duration(x.wait) * time.Second)
		next, err := c.poll(operation)
		d.ended(operation, pause) // the clock of the service is not that of its work
		var e *denied
		switch {
		case err == nil:
			x = next
		case s.retries && errors.As(err, &e) && e.transient && e.wait > 0 && !strings.Contains(s.final, transport+" "):
			x.wait = e.wait
		default:
			return nil, err
		}
	}
	return x, nil
}

// decode reads an answer as the models of SDKs do; no null, six-digit errors
// with string-only info.
func decode(status int, raw []byte) (map[string]any, *denied, error) {
	var body map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&body); err != nil || body == nil {
		return nil, nil, fmt.Errorf("%q is no JSON object: %v", raw, err)
	}
	if body["errorCode"] == nil {
		return body, nil, nil
	}
	var e struct {
		Code     int               `json:"errorCode"`
		Tracking string            `json:"trackingId"`
		Message  string            `json:"message"`
		Info     map[string]string `json:"info"`
		At       time.Time         `json:"timestampUtc"`
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, nil, fmt.Errorf("%q is no error: %w", raw, err)
	}
	if e.Code < 100000 || e.Code > 999999 || e.Message == "" || !guid.MatchString(e.Tracking) || e.At.IsZero() || status != 0 && e.Code/1000 != status {
		return nil, nil, fmt.Errorf("%d with %q", status, raw)
	}
	return body, &denied{status: e.Code / 1000, code: e.Code, text: string(raw)}, nil
}

// understand reads the model of an operation.
func understand(raw []byte, body map[string]any) (*told, error) {
	x := &told{raw: raw}
	x.operation, _ = body["operationId"].(string)
	x.status, _ = body["status"].(string)
	x.state, _ = body["registrationState"].(map[string]any)
	if x.operation == "" || x.status == "" {
		return nil, fmt.Errorf("no operation: %s", raw)
	}
	if state, has := body["registrationState"]; has && x.state == nil {
		return nil, fmt.Errorf("registrationState is %v", state)
	}
	switch x.status {
	case "assigning":
		return x, nil
	case "assigned":
		if x.at("assignedHub") == "" || x.at("deviceId") == "" {
			return nil, fmt.Errorf("assigned to nothing: %s", raw)
		}
	case "failed", "disabled":
		if x.state == nil {
			return nil, fmt.Errorf("a dereference of nothing: %s", raw)
		}
	default:
		return nil, fmt.Errorf("the status %q is unknown", x.status)
	}
	return x, nil
}

// whole wants all members of certificateInfo when it is there.
func (x *told) whole() error {
	x509, _ := x.state["x509"].(map[string]any)
	info, _ := x509["certificateInfo"].(map[string]any)
	for _, name := range []string{"subjectName", "sha1Thumbprint", "sha256Thumbprint", "issuerName", "notBeforeUtc", "notAfterUtc", "serialNumber", "version"} {
		if info != nil && info[name] == nil {
			return fmt.Errorf("%s is missing in certificateInfo: %s", name, x.raw)
		}
	}
	return nil
}

// walk is the matrix of dps 7.9 for an SDK: register, connect to the hub,
// register again, come back after a refusal that passes, disabled, deleted.
func (s *sdk) walk(t *testing.T, row string, leafOnly ...string) {
	k := openX509(t)
	for _, transport := range s.transports {
		all := k.subjects(t, "walk-"+transport, slices.Contains(leafOnly, transport))
		for _, x := range all {
			t.Run(fmt.Sprintf("%s as %s speaks: %s over %s", row, s.name, x.kind, transport), func(t *testing.T) {
				x.t = t
				x.device.t = t
				s.live(t, x, transport)
			})
		}
	}
}

func (s *sdk) live(t *testing.T, x *subject, transport string) {
	x.put()
	first := s.assigned(t, x.device, transport, "initialAssignment")
	x.admitted(t, first)
	if again := s.assigned(t, x.device, transport, s.again); again.at("assignedHub") != first.at("assignedHub") {
		t.Errorf("%s behind %s", again.raw, first.raw)
	}
	clear := x.inject(t, gate.Rule{Op: "dps.status", Code: 429001, After: 7 * time.Second, Count: 1})
	_, err := s.provision(x.device, transport, "")
	clear()
	if final := !s.retries || strings.Contains(s.final, transport+" "); final != (err != nil) || final && s.refused(t, err).code != 429001 {
		t.Errorf("a poll refused for the time being: %v", err)
	}
	x.enrolment.Provisioning = dps.ProvisioningDisabled
	x.put()
	if end, err := s.provision(x.device, transport, ""); err != nil || end.status != "disabled" {
		t.Errorf("disabled: %+v, %v", end, err)
	}
	x.delete()
	x.pass(time.Minute) // failures are throttled
	if _, err := s.provision(x.device, transport, ""); s.refused(t, err).code != 401002 {
		t.Errorf("deleted: %v", err)
	}
}

// assigned provisions a device and wants a hub.
func (s *sdk) assigned(t *testing.T, d *device, transport, substatus string) *told {
	t.Helper()
	x, err := s.provision(d, transport, "")
	if err != nil {
		t.Fatal(err)
	}
	if x.status != "assigned" || !strings.EqualFold(x.at("deviceId"), d.id) || x.at("substatus") != substatus || x.at("status") != "assigned" || x.at("etag") == "" {
		t.Fatalf("%s, want %s", x.raw, substatus)
	}
	return x
}

// refused wants an error that the SDK can report.
func (s *sdk) refused(t *testing.T, err error) *denied {
	t.Helper()
	var e *denied
	if !errors.As(err, &e) {
		t.Fatalf("%s does not survive: %v", s.name, err)
	}
	return e
}
