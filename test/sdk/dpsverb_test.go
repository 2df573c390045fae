package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

type callArgs struct {
	Method, Path, ETag string
	Body               json.RawMessage
}

type answerDPS struct {
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body"`
}

// callDPS calls the service API of the provisioning service.
func callDPS(ctx context.Context, d *driver, a callArgs) (any, error) {
	return d.rig.dps.call(ctx, a)
}

func (p *provisioning) call(ctx context.Context, a callArgs) (*answerDPS, error) {
	url := "https://" + dpsAddress + a.Path + "?api-version=2026-11-15"
	r, err := http.NewRequestWithContext(ctx, a.Method, url, bytes.NewReader(a.Body))
	if err != nil {
		return nil, err
	}
	token, err := cred.Sign(p.owner.HostName, p.owner.Key, p.owner.Policy, time.Now().Add(time.Hour))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", token)
	if len(a.Body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	if a.ETag != "" {
		r.Header.Set("If-Match", a.ETag)
	}
	response, err := p.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && len(body) == 0 {
		body = []byte("null")
	}
	return &answerDPS{response.StatusCode, body}, err
}

// want is call for what may not fail; it fills in what was answered.
func (p *provisioning) want(ctx context.Context, a callArgs, answer any) error {
	r, err := p.call(ctx, a)
	if err == nil && r.Status > 299 {
		err = fmt.Errorf("%s %s: %d %s", a.Method, a.Path, r.Status, r.Body)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(r.Body, answer)
}

type pair struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// selfSigned makes a certificate that vouches for itself.
func selfSigned(_ context.Context, _ *driver, a onArgs) (any, error) {
	cert, key, err := cred.SelfSigned(a.ID, time.Hour)
	return pair{string(cert), string(key)}, err
}

// certificate is an uploaded certificate as answers have it.
type certificate struct {
	ETag       string `json:"etag"`
	Properties struct {
		Verified bool   `json:"isVerified"`
		Code     string `json:"verificationCode"`
	} `json:"properties"`
}

// authority makes a root, uploads it and proves the possession of its key (dps
// 3.10).
func authority(ctx context.Context, d *driver, a onArgs) (any, error) {
	p := d.rig.dps
	root, err := cred.NewCA(a.ID, time.Hour)
	if err != nil {
		return nil, err
	}
	text, _ := root.PEM()
	path := "/certificates/" + a.ID
	var c certificate
	if err := p.want(ctx, callArgs{Method: "PUT", Path: path, Body: properties(text)}, &c); err != nil {
		return nil, err
	}
	if err := p.want(ctx, callArgs{Method: "POST", Path: path + "/generateVerificationCode", ETag: c.ETag}, &c); err != nil {
		return nil, err
	}
	proof, _, err := root.Client(c.Properties.Code, time.Hour)
	if err != nil {
		return nil, err
	}
	body, _ := json.Marshal(map[string]string{"certificate": string(proof)})
	if err := p.want(ctx, callArgs{Method: "POST", Path: path + "/verify", ETag: c.ETag, Body: body}, &c); err != nil {
		return nil, err
	}
	if !c.Properties.Verified {
		return nil, fmt.Errorf("certificate %s is not verified", a.ID)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.roots[a.ID] = root
	return string(text), nil
}

func properties(cert []byte) []byte {
	b, _ := json.Marshal(map[string]any{"properties": map[string]any{"certificate": cert}})
	return b
}

type leafArgs struct {
	ID, Root string
	Between  int
}

// leaf makes a device's certificate that is followed by as many intermediate
// ones below an uploaded root; the last of these is returned, too.
func leaf(_ context.Context, d *driver, a leafArgs) (any, error) {
	d.rig.dps.mu.Lock()
	ca := d.rig.dps.roots[a.Root]
	d.rig.dps.mu.Unlock()
	if ca == nil {
		return nil, fmt.Errorf("no authority %q was uploaded", a.Root)
	}
	var err error
	for n := range a.Between {
		if ca, err = ca.IntermediateOf(cred.EC256, fmt.Sprintf("%s below %d", a.Root, n+1)); err != nil {
			return nil, err
		}
	}
	cert, key, err := ca.Client(a.ID, time.Hour)
	if err != nil {
		return nil, err
	}
	above := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw})
	return struct {
		pair
		Signer string `json:"signer"`
	}{pair{string(cert), string(key)}, string(above)}, nil
}

// limit sets how many registrations a minute there may be, 0 for any number.
func limit(ctx context.Context, d *driver, a struct{ PerMinute int }) (any, error) {
	const path = "/provisioningSettings/default"
	var now map[string]any
	if err := d.rig.dps.want(ctx, callArgs{Method: "GET", Path: path}, &now); err != nil {
		return nil, err
	}
	now["limits"] = map[string]any{"registrationsPerMinute": a.PerMinute}
	now["retryAfterSeconds"] = 2
	body, err := json.Marshal(now)
	if err != nil {
		return nil, err
	}
	return nil, d.rig.dps.want(ctx, callArgs{Method: "PUT", Path: path, ETag: "*", Body: body}, &now)
}

// pass moves the clock of the node, which stands still from then on.
func pass(_ context.Context, d *driver, a struct{ Seconds int }) (any, error) {
	c := d.rig.Clock
	c.Freeze(c.Now().Add(time.Duration(a.Seconds) * time.Second))
	return nil, nil
}
