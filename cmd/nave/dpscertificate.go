package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/cred"
)

// certificateText is a CA certificate of the service as it is shown.
type certificateText struct {
	Name       string `json:"name"`
	ETag       string `json:"etag"`
	Properties struct {
		Subject     string `json:"subject"`
		Expiry      string `json:"expiry"`
		Thumbprint  string `json:"thumbprint"`
		Verified    bool   `json:"isVerified"`
		Certificate string `json:"certificate"`
		Code        string `json:"verificationCode"`
	} `json:"properties"`
}

func (t *certificateText) state() string {
	if t.Properties.Verified {
		return "verified"
	}
	return "not verified"
}

func certificateCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "certificate", Aliases: []string{"certificates", "cert"}, Short: "Manage CA certificates, and prove to own their keys",
		Example: "  nave dps certificate add plant plant-root.pem\n  nave dps certificate prove plant --key plant-root.key", RunE: group}
	c.AddCommand(certificateAdd(e), certificateList(e), certificateShow(e), certificateDelete(e), certificateCode(e), certificateVerify(e), certificateProve(e))
	return c
}

func certificatePath(name string) string { return "/certificates/" + url.PathEscape(name) }

func (e *env) completeCertificate() func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return e.completeDPS(func(ctx context.Context, c *dpsClient) (names []string) {
		all, _ := c.certificates(ctx)
		for _, t := range all {
			names = append(names, t.Name)
		}
		return names
	})
}

func (c *dpsClient) certificates(ctx context.Context) ([]certificateText, error) {
	var all struct {
		Value []certificateText `json:"value"`
	}
	_, err := c.api(ctx, http.MethodGet, "/certificates", nil, nil, &all)
	return all.Value, err
}

// certificate calls an operation on a certificate, with its etag where the
// service wants one.
func (c *dpsClient) certificate(ctx context.Context, method, name, action string, body any) (*certificateText, error) {
	var now, t certificateText
	if _, err := c.api(ctx, http.MethodGet, certificatePath(name), nil, nil, &now); err != nil {
		return nil, err
	}
	if method == http.MethodGet {
		return &now, nil
	}
	_, err := c.api(ctx, method, certificatePath(name)+action, nil, body, &t, "If-Match", quoted(now.ETag))
	return &t, err
}

func (e *env) showCertificate(t *certificateText) error {
	if e.json() {
		return e.printJSON(t)
	}
	p := &t.Properties
	e.facts("Certificate", t.Name, "Subject", p.Subject, "State", t.state(), "Thumbprint", p.Thumbprint, "Expires", p.Expiry, "Verification code", p.Code, "ETag", t.ETag)
	return nil
}

func certificateAdd(e *env) *cobra.Command {
	trusted := false
	c := &cobra.Command{Use: "add NAME FILE", Short: "Upload a CA certificate, or its successor", Args: cobra.ExactArgs(2), Aliases: []string{"create"},
		Long: `Add uploads a CA certificate, PEM; FILE may be - for the standard input. Devices may
register with what it signs once somebody has proven to own its key: 'certificate prove'
where the key is at hand, 'certificate code' and 'certificate verify' otherwise.`,
		Example: "  nave dps certificate add plant plant-root.pem\n  nave dps certificate add plant plant-root.pem --verified",
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := e.file(args[1])
			if err != nil {
				return err
			}
			properties := map[string]any{"certificate": string(text)}
			if trusted {
				properties["isVerified"] = true
			}
			c, err := e.dps(cmd.Context())
			if err != nil {
				return err
			}
			var t certificateText
			if err := c.write(cmd.Context(), certificatePath(args[0]), map[string]any{"properties": properties}, "", &t); err != nil {
				return err
			}
			if !t.Properties.Verified {
				e.say("'nave dps certificate prove %s --key FILE' proves that you own its key.", shellWord(t.Name))
			}
			return e.showCertificate(&t)
		}}
	c.Flags().BoolVar(&trusted, "verified", false, "the operator vouches for it, so that no proof is needed")
	return c
}

// file reads an argument that names a file, - the standard input.
func (e *env) file(name string) ([]byte, error) {
	if name == "-" {
		return e.text("FILE", "-")
	}
	return e.text("FILE", "@"+name)
}

func certificateList(e *env) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the CA certificates", Args: cobra.NoArgs, Aliases: []string{"ls"}, Example: "  nave dps certificate list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.dps(cmd.Context())
			if err != nil {
				return err
			}
			all, err := c.certificates(cmd.Context())
			switch {
			case err != nil:
				return err
			case e.json():
				return e.printJSON(all)
			case len(all) == 0:
				e.say("There are none. 'nave dps certificate add NAME FILE' adds one.")
				return nil
			}
			t := newTable("CERTIFICATE", "STATE", "SUBJECT", "EXPIRES", "THUMBPRINT")
			for _, a := range all {
				t.add(a.Name, a.state(), a.Properties.Subject, a.Properties.Expiry, a.Properties.Thumbprint)
			}
			return e.table(t)
		}}
}

// certificateDo makes a command that calls one operation and shows the result.
func certificateDo(e *env, c *cobra.Command, do func(ctx context.Context, c *dpsClient, args []string) (*certificateText, error)) *cobra.Command {
	c.ValidArgsFunction = e.completeCertificate()
	c.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := e.dps(cmd.Context())
		if err != nil {
			return err
		}
		t, err := do(cmd.Context(), c, args)
		if err != nil || t == nil {
			return err
		}
		return e.showCertificate(t)
	}
	return c
}

func certificateShow(e *env) *cobra.Command {
	c := &cobra.Command{Use: "show NAME", Short: "Show one", Args: cobra.ExactArgs(1), Example: "  nave dps certificate show plant"}
	return certificateDo(e, c, func(ctx context.Context, c *dpsClient, args []string) (*certificateText, error) {
		return c.certificate(ctx, http.MethodGet, args[0], "", nil)
	})
}

func certificateDelete(e *env) *cobra.Command {
	c := &cobra.Command{Use: "delete NAME", Short: "Trust it no longer", Args: cobra.ExactArgs(1), Aliases: []string{"rm"}, Example: "  nave dps certificate delete plant"}
	return certificateDo(e, c, func(ctx context.Context, c *dpsClient, args []string) (*certificateText, error) {
		if _, err := c.certificate(ctx, http.MethodDelete, args[0], "", nil); err != nil {
			return nil, err
		}
		e.say("Deleted the certificate %s.", args[0])
		return nil, nil
	})
}

func certificateCode(e *env) *cobra.Command {
	c := &cobra.Command{Use: "code NAME", Short: "Get a code, for a proof of possession", Args: cobra.ExactArgs(1),
		Long: `Code asks the service for a new verification code. Whoever holds the CA's key signs a
certificate whose common name is the code; 'nave dps certificate verify' brings it back.`,
		Example: "  nave dps certificate code plant"}
	return certificateDo(e, c, func(ctx context.Context, c *dpsClient, args []string) (*certificateText, error) {
		return c.certificate(ctx, http.MethodPost, args[0], "/generateVerificationCode", nil)
	})
}

func certificateVerify(e *env) *cobra.Command {
	c := &cobra.Command{Use: "verify NAME FILE", Short: "Prove possession by a certificate that was signed for the code", Args: cobra.ExactArgs(2),
		Example: "  nave dps certificate verify plant verification.pem"}
	return certificateDo(e, c, func(ctx context.Context, c *dpsClient, args []string) (*certificateText, error) {
		text, err := e.file(args[1])
		if err != nil {
			return nil, err
		}
		return c.certificate(ctx, http.MethodPost, args[0], "/verify", map[string]string{"certificate": string(text)})
	})
}

func certificateProve(e *env) *cobra.Command {
	key := ""
	c := &cobra.Command{Use: "prove NAME --key FILE", Short: "Prove possession at once, where the CA's key is at hand", Args: cobra.ExactArgs(1),
		Long: `Prove asks the service for a code, signs a certificate for it with the CA's key on this
machine, and completes the proof. The key stays here.`,
		Example: "  nave dps certificate prove plant --key plant-root.key"}
	c.Flags().StringVar(&key, "key", "", "PEM file with the CA's private key")
	c.MarkFlagRequired("key")
	c.MarkFlagFilename("key", "pem", "key")
	return certificateDo(e, c, func(ctx context.Context, c *dpsClient, args []string) (*certificateText, error) {
		text, err := e.file(key)
		if err != nil {
			return nil, err
		}
		now, err := c.certificate(ctx, http.MethodGet, args[0], "", nil)
		if err != nil {
			return nil, err
		}
		authority, err := cred.ParseCertificate([]byte(now.Properties.Certificate))
		if err != nil {
			return nil, trouble("", "the service's certificate can't be read: %w", err)
		}
		signer, err := privateKey(text, authority)
		if err != nil {
			return nil, err
		}
		code, err := c.certificate(ctx, http.MethodPost, args[0], "/generateVerificationCode", nil)
		if err != nil {
			return nil, err
		}
		proof, err := signProof(authority, signer, code.Properties.Code)
		if err != nil {
			return nil, trouble("", "the verification certificate could not be signed: %w", err)
		}
		return c.certificate(ctx, http.MethodPost, args[0], "/verify", map[string]string{"certificate": string(proof)})
	})
}

// privateKey reads the PEM of a key that has to be the certificate's.
func privateKey(text []byte, of *x509.Certificate) (crypto.Signer, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		default:
			continue
		}
		signer, ok := key.(crypto.Signer)
		if err != nil || !ok {
			return nil, misuse("Give an RSA or EC key without a passphrase, in PEM.", "the key can't be read: %v", err)
		}
		if public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(of.PublicKey) {
			return nil, misuse("Give the private key of "+of.Subject.String()+".", "the key does not belong to the certificate of the service")
		}
		return signer, nil
	}
	return nil, misuse("Give a PEM file with a block PRIVATE KEY, without a passphrase.", "the file holds no private key")
}

// signProof signs a certificate for the code, PEM.
func signProof(authority *x509.Certificate, signer crypto.Signer, code string) ([]byte, error) {
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	number, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: number, Subject: pkix.Name{CommonName: code}, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
		BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, own.Public(), signer)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// rawJSON reads FILE, which must be JSON.
func (e *env) rawJSON(file string) (json.RawMessage, error) {
	if file == "-" {
		return e.value("--file", "-")
	}
	return e.value("--file", "@"+file)
}
