package dps_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// TestFacts holds the facts of dps 0.1 that are the domain's.
func TestFacts(t *testing.T) {
	k := start(t)
	ctx := context.Background()
	t.Run("fact 1: register answers assigning, never the result", func(t *testing.T) {
		e := k.enroll("f1")
		for range 3 {
			op, err := k.service.Register(ctx, k.by(e, "f1"), nil)
			if err != nil || op.Status != dps.Assigning || op.State != nil || op.Retry != 3*time.Second {
				t.Fatalf("%+v, %v", op, err)
			}
			if wire(t, op) != `{"operationId":"`+op.ID+`","status":"assigning"}` || strings.ContainsAny(op.ID, "$&=/+#") {
				t.Errorf("%s", wire(t, op))
			}
			assigned(t, k.await(k.by(e, "f1"), op.ID))
			k.pass(time.Minute)
		}
	})
	t.Run("fact 5: payload is omitted when the webhook returned none", func(t *testing.T) {
		h := newHook(t, says(200, `{"iotHubHostName":"hub-a.test"}`))
		k.settings(h.settings())
		e := k.enroll("f5", custom(h.URL))
		for _, answer := range []string{``, `,"payload":null`, `,"payload":"text"`} {
			h.will(says(200, `{"iotHubHostName":"hub-a.test"`+answer+`}`))
			if text := wire(t, k.register(k.by(e, "f5"), `{"payload":{"a":1}}`)); strings.Contains(text, "payload") || strings.Contains(text, "null") {
				t.Errorf("%s", text)
			}
			k.pass(time.Minute)
		}
		h.will(says(200, `{"iotHubHostName":"hub-a.test","payload":{}}`))
		if text := wire(t, k.register(k.by(e, "f5"), "")); !strings.Contains(text, `"payload":{}`) {
			t.Errorf("%s", text)
		}
	})
	t.Run("fact 6: failed and disabled carry operationId, status and registrationState", func(t *testing.T) {
		off := k.enroll("f6", func(e *dps.Enrollment) { e.Provisioning = dps.ProvisioningDisabled })
		lost := k.enroll("f6b", allocation(dps.AllocateCustom), func(e *dps.Enrollment) {
			e.Custom = &dps.CustomAllocation{URL: "https://127.0.0.1:1/", Version: "2019-03-31"}
		})
		for _, op := range []*dps.Operation{k.register(k.by(off, "f6"), ""), k.register(k.by(lost, "f6b"), "")} {
			if op.ID == "" || op.State == nil || op.State.Status != op.Status || op.State.RegistrationID == "" || op.State.ETag == "" || op.State.Updated.IsZero() || op.Retry != 0 {
				t.Errorf("%s", wire(t, op))
			}
			if (op.Status == dps.Failed) != (op.State.ErrorCode != 0) || strings.Contains(wire(t, op), "null") {
				t.Errorf("%s", wire(t, op))
			}
		}
	})
	t.Run("fact 10: SAS tokens in all spellings", func(t *testing.T) { spelledTokens(t, k) })
	t.Run("fact 12: PUT returns generated keys", func(t *testing.T) {
		e := k.enrolled(&dps.Enrollment{RegistrationID: "f12", Attestation: &dps.Attestation{Type: dps.AttestKey, SymmetricKey: &dps.SymmetricKey{}}})
		b, err := base64.StdEncoding.DecodeString(e.Attestation.SymmetricKey.Primary)
		if err != nil || len(b) != 64 {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		assigned(t, k.register(k.by(e, "f12"), ""))
	})
}

func spelledTokens(t *testing.T, k *rig) {
	e := k.enroll("F10:x")
	key := e.Attestation.SymmetricKey.Primary
	raw := rigScope + "/registrations/f10:x"
	upper := url.QueryEscape(raw)
	lower := strings.NewReplacer("%2F", "%2f", "%3A", "%3a").Replace(upper)
	sign := func(sr, tail string) *dps.Claim {
		c := k.claim("F10:x", key)
		// The token is signed over sr as it stands.
		c.SAS = signedToken(t, sr, key, k.now().Add(time.Hour)) + tail
		return c
	}
	for _, sr := range []string{raw, upper, lower, strings.ToUpper(raw)} {
		for _, tail := range []string{"", "&skn=", "&skn=registration"} {
			op, err := k.service.Register(context.Background(), sign(sr, tail), nil)
			if err != nil {
				t.Errorf("sr=%s%s: %v", sr, tail, err)
				continue
			}
			k.pass(time.Minute)
			assigned(t, k.await(sign(sr, tail), op.ID))
		}
	}
	for _, c := range []*dps.Claim{sign(raw, "&skn=other"), sign(rigScope+"/registrations/other", ""), sign(raw+"/", ""), sign("host/"+raw, "")} {
		_, err := k.service.Register(context.Background(), c, nil)
		if f := wants(t, err, fault.DPSIotHubUnauthorizedAccess); f.Text != "Unauthorized" {
			t.Errorf("%q", f.Text)
		}
	}
	late := k.claim("F10:x", key)
	late.SAS = signedToken(t, raw, key, k.now().Add(-10*time.Minute))
	_, err := k.service.Register(context.Background(), late, nil)
	wants(t, err, fault.DPSIotHubUnauthorizedAccess)
	late.SAS = signedToken(t, raw, key, k.now().Add(-time.Minute))
	op, err := k.service.Register(context.Background(), late, nil)
	if err != nil {
		t.Fatal(err)
	}
	assigned(t, k.await(late, op.ID))
}

// TestRequest holds what a register body may be.
func TestRequest(t *testing.T) {
	for _, c := range []struct {
		name, body string
		code       *fault.Code
	}{
		{"nothing", "", nil}, {"a blank", " ", nil}, {"an empty string", `""`, nil}, {"an empty object", "{}", nil}, {"DPS-048 only payload", `{"payload":{"a":[1,null]}}`, nil},
		{"unknown members", `{"registrationId":"ID-1","foo":{}}`, nil}, {"null members", `{"registrationId":null,"tpm":null,"payload":null,"csr":null}`, nil},
		{"DPS-022 another id", `{"registrationId":"id-2"}`, fault.DPSInvalidRegistrationId},
		{"DPS-023 not JSON", `{"registrationId":`, fault.DPSDeserializationError}, {"an array", `[]`, fault.DPSDeserializationError}, {"a wrong type", `{"csr":1}`, fault.DPSDeserializationError},
		{"an undecodable EK", `{"tpm":{"endorsementKey":"AAAA"}}`, fault.DPSInvalidEndorsementKey}, {"no EK", `{"tpm":{}}`, fault.DPSInvalidEndorsementKey},
		{"DPS-130 a CSR that is none", `{"csr":"AAAA"}`, fault.DPSArgumentInvalid},
		{"too large", `{"payload":"` + strings.Repeat("x", 96<<10) + `"}`, fault.DPSMessageTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := dps.ParseRequest([]byte(c.body), "id-1")
			if c.code != nil {
				wants(t, err, c.code)
			} else if err != nil || r == nil {
				t.Error(err)
			}
		})
	}
	r, err := dps.ParseRequest([]byte(` {"payload": {"b":1.50, "a":"x"} }`), "id")
	if err != nil || string(r.Payload) != `{"b":1.50, "a":"x"}` {
		t.Errorf("the payload is not verbatim: %s, %v", r.Payload, err)
	}
}

// FuzzParseRequest checks that no body is worse than refused.
func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{"", "{}", `{"registrationId":"a","payload":{"x":1}}`, `{"tpm":{"endorsementKey":"AToAAQALAAMAsgAg","storageRootKey":"AA=="}}`, `{"csr":"MIIB"}`, `{"clientCertificateCsr":"-----BEGIN CERTIFICATE REQUEST-----"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := dps.ParseRequest(b, "a")
		if (r == nil) && (err == nil) {
			t.Error("neither a request nor an error")
		}
		if err != nil && fault.From(err).Code.Family != fault.DPS {
			t.Errorf("%v is of another family", err)
		}
	})
}

func signedToken(t testing.TB, sr, key string, until time.Time) string {
	t.Helper()
	text, err := cred.Sign("x", key, "", until)
	if err != nil {
		t.Fatal(err)
	}
	se := text[strings.Index(text, "&se=")+4:]
	return "SharedAccessSignature sr=" + sr + "&sig=" + url.QueryEscape(mac(t, key, sr+"\n"+se)) + "&se=" + se
}

func mac(t testing.TB, key, text string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	h := hmac.New(sha256.New, b)
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}
