package dps

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/nave-hub/nave/internal/fault"
)

// Limits of webhook calls (dps 4.3).
const (
	webhookConnect = 5 * time.Second
	webhookAnswer  = 64 << 10
	webhookPause   = 500 * time.Millisecond // before the one retry
)

// webhookCall is the request body.
type webhookCall struct {
	Individual *Enrollment    `json:"individualEnrollment,omitzero"`
	Group      *Enrollment    `json:"enrollmentGroup,omitzero"`
	Context    runtimeContext `json:"deviceRuntimeContext"`
	Hubs       []string       `json:"linkedHubs"`
}

type runtimeContext struct {
	ID      string          `json:"registrationId"`
	Hub     string          `json:"currentIotHubHostName,omitzero"`
	Device  string          `json:"currentDeviceId,omitzero"`
	X509    *X509Result     `json:"x509,omitzero"`
	Key     *struct{}       `json:"symmetricKey,omitzero"`
	TPM     *TPMAttestation `json:"tpm,omitzero"`
	Payload json.RawMessage `json:"payload,omitzero"`
}

// webhookAnswered is the answer.
type webhookAnswered struct {
	Hub     string         `json:"iotHubHostName"`
	Twin    jsontext.Value `json:"initialTwin"`
	Payload jsontext.Value `json:"payload"`
}

// custom has the webhook choose among the candidates and writes its choice into
// p (dps 4.2, 4.3).
func (s *Service) custom(ctx context.Context, j *job, d *dossier, p *plan, candidates []*LinkedHub) error {
	def := d.enrollment.Custom
	if def == nil || def.URL == "" {
		return webhookFailed(errors.New("the enrollment has no webhook"), 0)
	}
	call := &webhookCall{Context: d.runtime(j.op)}
	if d.enrollment.IsGroup() {
		call.Group = d.enrollment.public()
	} else {
		call.Individual = d.enrollment.public()
	}
	for _, l := range candidates {
		call.Hubs = append(call.Hubs, l.Name)
	}
	body, err := jsonv2.Marshal(call)
	if err != nil {
		return err
	}
	start := time.Now()
	answer, err := s.callWebhook(ctx, def, d.profile, body)
	p.webhook = time.Since(start)
	if err != nil {
		return err
	}
	return answer.apply(d, p, candidates)
}

// runtime returns what the webhook learns of the device.
func (d *dossier) runtime(op *operation) runtimeContext {
	c := runtimeContext{ID: op.Registration, Payload: op.Payload}
	if d.assigned() {
		c.Hub, c.Device = d.registration.AssignedHub, d.registration.DeviceID
	}
	switch op.Kind {
	case AttestX509:
		c.X509 = x509Result(op)
	case AttestKey:
		c.Key = &struct{}{}
	case AttestTPM:
		c.TPM = &TPMAttestation{EK: encode64(op.EK), SRK: encode64(op.SRK)}
	}
	return c
}

// apply takes over what the webhook chose.
func (a *webhookAnswered) apply(d *dossier, p *plan, candidates []*LinkedHub) error {
	if a.Hub == "" {
		return fault.DPSCustomAllocationIotHubNotSpecified.New("Custom allocation did not return an IoT hub")
	}
	for _, l := range candidates {
		if strings.EqualFold(l.Name, a.Hub) {
			p.link = l
		}
	}
	if p.link == nil {
		return fault.DPSCustomAllocationUnauthorizedAccess.New("Custom allocation returned an IoT hub that may not be used")
	}
	if len(a.Twin) > 0 && a.Twin.Kind() != 'n' {
		twin, err := ParseInitialTwin(json.RawMessage(a.Twin))
		if err != nil {
			return webhookFailed(err, http.StatusOK)
		}
		p.twin, p.custom = twin, true
	}
	if a.Payload.Kind() == '{' {
		p.payload = json.RawMessage(a.Payload)
	}
	return nil
}

// webhookFailed is the outcome of a webhook without a usable answer; status is
// 0 when there was none.
func webhookFailed(cause error, status int) error {
	return fault.DPSCustomAllocationFailed.Wrap(cause, "Custom allocation failed with status code: %d", status)
}

// callWebhook posts the body, once more when nobody answered or the answer was
// 502, 503 or 504.
func (s *Service) callWebhook(ctx context.Context, def *CustomAllocation, p *Settings, body []byte) (*webhookAnswered, error) {
	target, err := url.Parse(def.URL)
	if err != nil || target.Host == "" || target.Scheme != "https" && !(target.Scheme == "http" && p.Webhook.AllowHTTP) {
		return nil, webhookFailed(errors.New("the URL of the webhook is not https"), 0)
	}
	ctx, cancel := context.WithTimeout(ctx, p.webhookTimeout())
	defer cancel()
	web := s.webhookClient(p)
	answer, status, err := postWebhook(ctx, web, def.URL, body)
	if status == 0 && err != nil && !errors.Is(err, errForbidden) || status == 502 || status == 503 || status == 504 {
		select {
		case <-ctx.Done():
		case <-time.After(webhookPause):
			answer, status, err = postWebhook(ctx, web, def.URL, body)
		}
	}
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return nil, fault.DPSCustomAllocationUnauthorizedAccess.New("Custom allocation failed with status code: %d", status)
	case err != nil:
		return nil, webhookFailed(err, status)
	case status != http.StatusOK:
		return nil, webhookFailed(nil, status)
	}
	return answer, nil
}

// postWebhook makes one call. No error holds the URL, whose query may be
// secret.
func postWebhook(ctx context.Context, web *http.Client, to string, body []byte) (*webhookAnswered, int, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, 0, errors.New("the URL of the webhook is malformed")
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("User-Agent", "nave-provisioning")
	a, err := web.Do(q)
	if err != nil {
		return nil, 0, bareURLError(err)
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return nil, a.StatusCode, nil
	}
	b, err := io.ReadAll(io.LimitReader(a.Body, webhookAnswer+1))
	switch {
	case err != nil:
		return nil, a.StatusCode, bareURLError(err)
	case len(b) > webhookAnswer:
		return nil, a.StatusCode, fmt.Errorf("the webhook's answer has more than %d bytes", webhookAnswer)
	}
	v := &webhookAnswered{}
	if err := jsonv2.Unmarshal(b, v); err != nil {
		return nil, a.StatusCode, errors.New("the webhook's answer is not JSON of the expected shape")
	}
	return v, a.StatusCode, nil
}

// errForbidden: the webhook's address may not be called.
var errForbidden = errors.New("the webhook's address is not a public one, and the settings do not allow others")

// webhookClient returns the client for the settings in force: Options.Web, or
// one that calls public addresses only (all with webhook.allowHttp), follows no
// redirects, uses no proxy and trusts the CA of the settings in place of the
// system's.
func (s *Service) webhookClient(p *Settings) *http.Client {
	if s.web != nil {
		return s.web
	}
	s.hooks.mu.Lock()
	defer s.hooks.mu.Unlock()
	if c := s.hooks.all[p.Webhook]; c != nil {
		return c
	}
	if s.hooks.all == nil || len(s.hooks.all) > 100 {
		s.hooks.all = map[SettingsWebhook]*http.Client{}
	}
	c := newWebhookClient(p.Webhook)
	s.hooks.all[p.Webhook] = c
	return c
}

// hooks keeps clients by settings. The zero value is ready.
type hooks struct {
	mu  sync.Mutex
	all map[SettingsWebhook]*http.Client
}

func newWebhookClient(w SettingsWebhook) *http.Client {
	dial := &net.Dialer{Timeout: webhookConnect}
	if !w.AllowHTTP {
		// Judged after name resolution, so that no name can stand for an address
		// within the operator's network.
		dial.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			if to, err := netip.ParseAddrPort(address); err != nil || !isPublic(to.Addr()) {
				return errForbidden
			}
			return nil
		}
	}
	roots := &tls.Config{MinVersion: tls.VersionTLS12}
	if w.CA != "" {
		roots.RootCAs = x509.NewCertPool()
		roots.RootCAs.AppendCertsFromPEM([]byte(w.CA))
	}
	return &http.Client{
		Transport: &http.Transport{DialContext: dial.DialContext, TLSClientConfig: roots, TLSHandshakeTimeout: webhookConnect,
			MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: webhookAnswer},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// special are address ranges that are not private by netip's measure and not
// public either (RFC 6890).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
}

// isPublic says whether the address may belong to a webhook: not this machine,
// not the network around it, not the metadata service of a cloud.
func isPublic(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
