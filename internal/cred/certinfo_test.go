package cred_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

func TestParseCertificate(t *testing.T) {
	pem, _, err := cred.SelfSigned("d1", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	want := must(cred.ParseCertificates(pem))[0]
	other, _, _ := cred.SelfSigned("d2", time.Hour)
	for name, text := range map[string]string{
		"PEM": string(pem), "base64 of DER": encode(want.Raw), "base64 of PEM": encode(pem), "DER": string(want.Raw),
		"two blocks": string(pem) + string(other), "text before": "subject=d1\n" + string(pem), "lines": encode(pem)[:70] + "\n" + encode(pem)[70:],
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := cred.ParseCertificate([]byte(text)); err != nil || !c.Equal(want) {
				t.Error(err)
			}
		})
	}
	for name, text := range map[string]string{
		"empty": "", "rubbish": "garbage!", "base64 of rubbish": base64.StdEncoding.EncodeToString([]byte("garbage")), "DER cut off": string(want.Raw[:40]),
		"PEM of a key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "long": strings.Repeat("A", 65<<10), "padding": "====",
	} {
		if c, err := cred.ParseCertificate([]byte(text)); c != nil || cred.ProblemOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if again, err := cred.ParseCertificate(cred.AppendCertificate(nil, want)); err != nil || !again.Equal(want) {
		t.Error(err)
	}
}

func TestCertificateInfo(t *testing.T) {
	leaf := client(t, line().one, "d1", time.Hour)[0]
	text, err := json.Marshal(cred.Info(leaf))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	json.Unmarshal(text, &m)
	short, long := cred.Thumbprints(leaf)
	for name, want := range map[string]any{"subjectName": "CN=d1", "issuerName": "CN=one", "sha1Thumbprint": short, "sha256Thumbprint": long,
		"notBeforeUtc": leaf.NotBefore.UTC().Format("2006-01-02T15:04:05Z"), "notAfterUtc": leaf.NotAfter.UTC().Format("2006-01-02T15:04:05Z"),
		"serialNumber": cred.SerialNumber(leaf), "version": 3.0} {
		if m[name] != want {
			t.Errorf("%s: %v, want %v", name, m[name], want)
		}
	}
	if len(m) != 8 {
		t.Errorf("%d fields", len(m))
	}
}

func FuzzParseCertificate(f *testing.F) {
	pem, _, _ := cred.SelfSigned("d1", time.Hour)
	c := must(cred.ParseCertificates(pem))[0]
	f.Add(pem)
	f.Add(c.Raw)
	f.Add([]byte(encode(pem)))
	f.Add([]byte(encode(c.Raw)))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := cred.ParseCertificate(text)
		if (c == nil) != (cred.ProblemOf(err) != "") {
			t.Fatal(c, err)
		}
		if c != nil {
			if _, err := json.Marshal(cred.Info(c)); err != nil {
				t.Fatal(err)
			}
			if again, err := cred.ParseCertificate(cred.AppendCertificate(nil, c)); err != nil || !again.Equal(c) {
				t.Fatal(err)
			}
		}
	})
}
