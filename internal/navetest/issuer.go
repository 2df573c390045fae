package navetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Issuer is a source of bearer tokens on loopback: an HTTPS server with a
// discovery document and keys.
type Issuer struct {
	URL    string       // its name
	CAFile string       // PEM file with the certificate to trust
	Asked  atomic.Int64 // how often its keys were read
	Down   atomic.Bool  // answers 503

	t    testing.TB
	http *httptest.Server

	// Guarded by mu:
	mu   sync.Mutex
	keys []jose.JSONWebKey // private ones
}

// StartIssuer starts an issuer with an RSA key "rsa" and an EC key "ec".
func StartIssuer(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	})
	mux.HandleFunc("GET /keys", i.serveKeys)
	i.http = httptest.NewTLSServer(mux)
	t.Cleanup(i.http.Close)
	i.URL, i.CAFile = i.http.URL, filepath.Join(t.TempDir(), "issuer.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.http.Certificate().Raw})
	if err := os.WriteFile(i.CAFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i.keys = []jose.JSONWebKey{{Key: key, KeyID: "rsa", Algorithm: "RS256", Use: "sig"}}
	i.AddKey("ec")
	return i
}

func (i *Issuer) serveKeys(w http.ResponseWriter, _ *http.Request) {
	i.Asked.Add(1)
	if i.Down.Load() {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	set := map[string][]any{"keys": {map[string]string{"kty": "from the future", "kid": "x"}}}
	for _, k := range i.keys {
		set["keys"] = append(set["keys"], k.Public())
	}
	json.NewEncoder(w).Encode(set)
}

// Client returns a client that trusts the issuer.
func (i *Issuer) Client() *http.Client { return i.http.Client() }

// AddKey makes an EC key.
func (i *Issuer) AddKey(id string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, jose.JSONWebKey{Key: key, KeyID: id, Algorithm: "ES256", Use: "sig"})
}

// Public returns the public half of a key.
func (i *Issuer) Public(id string) crypto.PublicKey {
	k := i.key(id)
	public := k.Public()
	return public.Key
}

func (i *Issuer) key(id string) jose.JSONWebKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, k := range i.keys {
		if k.KeyID == id {
			return k
		}
	}
	i.t.Fatalf("the issuer has no key %q", id)
	return jose.JSONWebKey{}
}

// Token signs claims with a key.
func (i *Issuer) Token(id string, claims map[string]any) string {
	i.t.Helper()
	k := i.key(id)
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.Algorithm), Key: k}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		i.t.Fatal(err)
	}
	text, err := jwt.Signed(s).Claims(claims).Serialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}
