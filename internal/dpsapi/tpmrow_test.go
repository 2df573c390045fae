package dpsapi_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// enrolTPM enrols a device by its endorsement key.
func (k *kit) enrolTPM(t testing.TB, id string, v *softTPM) *device {
	t.Helper()
	k.put(t, &dps.Enrollment{RegistrationID: id, Attestation: &dps.Attestation{Type: dps.AttestTPM,
		TPM: &dps.TPMAttestation{EK: base64.StdEncoding.EncodeToString(v.ek)}}})
	return k.device(t, id)
}

func TestTPM(t *testing.T) {
	k := open(t)
	v := newTPM(t, 0)
	t.Run("DPS-116 DPS-117 DPS-118 DPS-119 risk 2: registration over HTTPS", func(t *testing.T) {
		d := k.enrolTPM(t, "tpm-1", v)
		a := d.register(v.body("tpm-1"))
		if a.code != 401 || a.get("keyName") != "registration" || a.get("message") == "" || a.body["status"] != nil || a.body["operationId"] != nil || a.body["errorCode"] != nil {
			t.Fatalf("%d %s", a.code, a.raw)
		}
		d = d.withKey(v.activateText(t, a.get("authenticationKey")))
		a = d.assigned(v.body("tpm-1"))
		connects(t, k, v, a)
		if a = d.withKey("").poll(a.get("operationId")); a.code != 401 && a.code != 200 {
			t.Errorf("%d %s", a.code, a.raw)
		}
	})
	t.Run("DPS-116 lookup without Authorization", func(t *testing.T) {
		d := k.enrolTPM(t, "tpm-2", v)
		if a := d.lookup(v.body("tpm-2")); a.code != 401 || a.get("authenticationKey") == "" {
			t.Errorf("%d %s", a.code, a.raw)
		}
	})
	t.Run("DPS-118 a token of another key", func(t *testing.T) {
		k.enrolTPM(t, "tpm-3", v).withKey(someKey).register(v.body("tpm-3")).want(401, 401002)
	})
	t.Run("DPS-119 DPS-124 DPS-125 registration over AMQP", func(t *testing.T) {
		d := k.enrolTPM(t, "tpm-4", v)
		x := &exchange{t: t, v: v, d: d}
		p := d.amqpOn(d.dial(d.amqps), x.options())
		connects(t, k, v, p.outcome(v.body("tpm-4")))
		x.check()
	})
	t.Run("DPS-119 the same over a WebSocket", func(t *testing.T) {
		d := k.enrolTPM(t, "tpm-5", v)
		x := &exchange{t: t, v: v, d: d}
		connects(t, k, v, d.amqpOn(d.socket("/", "AMQPWSB10"), x.options()).outcome(v.body("tpm-5")))
	})
	t.Run("DPS-126 the client splits its first text", func(t *testing.T) {
		d := k.enrolTPM(t, "tpm-6", v)
		x := &exchange{t: t, v: v, d: d, split: 100}
		p := d.amqpOn(d.dial(d.amqps), x.options())
		p.ask(registerMessage(v.body("tpm-6")))
	})
	t.Run("DPS-120 unknown registration id over HTTPS", func(t *testing.T) {
		k.device(t, "tpm-none").register(v.body("tpm-none")).want(404, 404201)
	})
	t.Run("DPS-121 unknown registration id over AMQP", func(t *testing.T) {
		d := k.device(t, "tpm-none")
		p := d.amqpOn(d.dial(d.amqps), (&exchange{t: t, v: v, d: d}).options())
		e, a := p.rejected(registerMessage(v.body("tpm-none")))
		if a.want(0, 404201); e.Condition != amqp.NotFound {
			t.Errorf("%+v", e)
		}
	})
	t.Run("DPS-122 another endorsement key", func(t *testing.T) {
		other := newTPM(t, 1)
		d := k.enrolTPM(t, "tpm-7", v)
		d.register(other.body("tpm-7")).want(401, 401002)
		p := d.amqpOn(d.dial(d.amqps), (&exchange{t: t, v: other, d: d}).options())
		_, a := p.rejected(registerMessage(other.body("tpm-7")))
		a.want(0, 401002)
	})
	t.Run("DPS-121 a token of another key over AMQP", func(t *testing.T) {
		d := k.enrolTPM(t, "tpm-8", v)
		o := (&exchange{t: t, v: v, d: d}).options()
		step := o.Step
		o.Step = func(challenge []byte) ([]byte, error) {
			response, err := step(challenge)
			if len(response) > 1 && strings.Contains(string(response), "SharedAccessSignature") {
				response = append([]byte{0}, d.withKey(someKey).token()...)
			}
			return response, err
		}
		if _, err := amqp.Open(within(t), d.dial(d.amqps), o); err == nil || !strings.Contains(err.Error(), "outcome 1") {
			t.Error(err)
		}
	})
	t.Run("DPS-127 enrolment with a key that is none", func(t *testing.T) {
		e, err := dps.ParseEnrollment([]byte(`{"registrationId":"tpm-9","attestation":{"type":"tpm","tpm":{"endorsementKey":"AAAA"}}}`), false)
		if err == nil {
			_, err = k.PutEnrollment(within(t), "tpm-9", e, dps.Match{})
		}
		if code := fault.From(err); code == nil || code.Code.ID != 400201 {
			t.Error(err)
		}
	})
}

// connects activates the key of the hub's device, and shows it to the hub.
func connects(t *testing.T, k *kit, v *softTPM, a *answer) {
	t.Helper()
	if a.code != 200 || a.get("status") != "assigned" {
		t.Fatalf("%d %s", a.code, a.raw)
	}
	key := v.activateText(t, a.get("registrationState.tpm.authenticationKey"))
	host, id := a.get("registrationState.assignedHub"), a.get("registrationState.deviceId")
	token, err := cred.Sign(host+"/devices/"+id, key, "", k.now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.hubs[host].Authenticate(within(t), cred.Claim{SAS: token}, nave.ID{Device: id}); err != nil {
		t.Error(err)
	}
}

// check holds the challenges against the specification.
func (x *exchange) check() {
	x.t.Helper()
	if len(x.challenges) != 3 || string(x.challenges[0]) != "\x00" || x.challenges[1][0] != 0x80 || x.challenges[2][0] != 0xC1 {
		x.t.Errorf("DPS-124: challenges %x", x.challenges)
	}
	for _, c := range x.challenges {
		if len(c) > 470 {
			x.t.Errorf("DPS-125: a segment of %d bytes", len(c))
		}
	}
}
