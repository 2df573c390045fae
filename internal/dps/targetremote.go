package dps

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
)

// Limits of calls to remote hubs.
const (
	remoteVersion = "2021-04-12" // api-version of the service API
	remoteAnswer  = 1 << 20      // bytes of an answer that are read
	remoteTime    = 20 * time.Second
	remoteToken   = 10 * time.Minute // life of the tokens we sign
)

// remote is a hub behind its service API.
type remote struct {
	host, policy, key string
	web               *http.Client
}

// remoteWeb calls remote hubs whose certificates the system's CAs vouch for.
var remoteWeb = RemoteClient(nil)

// RemoteClient returns a client for NewRemoteOver that trusts the CAs, nil for
// those of the system. The addresses are the operator's own, so any is allowed.
func RemoteClient(roots *x509.CertPool) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: t, Timeout: remoteTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// NewRemote returns a hub behind its service API by a connection string with
// HostName, SharedAccessKeyName and SharedAccessKey; DPSArgumentInvalid.
func NewRemote(connection string) (Target, error) { return NewRemoteOver(connection, remoteWeb) }

// NewRemoteOver is NewRemote with an HTTP client of the caller's.
func NewRemoteOver(connection string, web *http.Client) (Target, error) {
	c, err := cred.ParseConnectionString(connection)
	switch {
	case err != nil:
		return nil, fault.DPSArgumentInvalid.New("connectionString cannot be read: %s", err.Error())
	case c.HostName == "" || c.Policy == "" || c.Key == "" || c.DeviceID != "":
		return nil, fault.DPSArgumentInvalid.New("connectionString needs HostName, SharedAccessKeyName and SharedAccessKey, and no device")
	}
	return &remote{c.HostName, c.Policy, c.Key, web}, nil
}

func (r *remote) Near() bool { return false }

func (r *remote) Device(ctx context.Context, id string) (*nave.Identity, error) {
	b, err := r.call(ctx, "GET", "/devices/"+url.PathEscape(id), "", nil)
	if err != nil {
		return nil, err
	}
	return r.identity(id, b)
}

func (r *remote) identity(id string, b []byte) (*nave.Identity, error) {
	p, err := nave.ParseIdentity(b, false)
	if err != nil {
		return nil, fault.ServiceUnavailable.Wrap(err, "the hub %s answered with a device that cannot be read", r.host)
	}
	i := &nave.Identity{ID: nave.ID{Device: id}, ETag: p.ETag, Status: nave.Enabled, Edge: p.Edge != nil && *p.Edge}
	if p.Status != nil {
		i.Status = *p.Status
	}
	if p.Auth != nil {
		i.Auth = *p.Auth
	}
	return i, nil
}

func (r *remote) Place(ctx context.Context, id string, p *Placement) (*nave.Identity, error) {
	i, err := r.Device(ctx, id)
	old := err == nil
	switch {
	case errors.Is(err, fault.DeviceNotFound):
		i, err = r.put(ctx, id, p, nave.Enabled, "")
		if errors.Is(err, fault.DeviceAlreadyExists) { // made by somebody else meanwhile
			i, err = r.put(ctx, id, p, nave.Enabled, "*")
			old = true
		}
	case err == nil && !fits(i, p):
		i, err = r.put(ctx, id, p, i.Status, "*")
	}
	if err != nil || p.Twin == nil || p.New && old {
		return i, err
	}
	_, err = r.call(ctx, "PUT", "/twins/"+url.PathEscape(id), "*", p.Twin.body())
	return i, err
}

// body returns the twin as the service API takes it, parts that are nil left
// out.
func (t *TwinState) body() []byte {
	b := []byte{'{'}
	if t.Tags != nil {
		b = t.Tags.Append(append(b, `"tags":`...))
	}
	if t.Desired != nil {
		if t.Tags != nil {
			b = append(b, ',')
		}
		b = append(t.Desired.Append(append(b, `"properties":{"desired":`...)), '}')
	}
	return append(b, '}')
}

// fits says whether the identity needs no write.
func fits(i *nave.Identity, p *Placement) bool {
	if i.Edge != p.Edge || i.Auth.Type != p.Auth.Type {
		return false
	}
	if p.Auth.Type == nave.AuthSAS && p.Auth.Primary == "" {
		return i.Auth.Primary != ""
	}
	return i.Auth == p.Auth
}

func (r *remote) put(ctx context.Context, id string, p *Placement, status, match string) (*nave.Identity, error) {
	name, err := json.Marshal(id)
	if err != nil {
		return nil, err
	}
	b := fmt.Appendf(nil, `{"deviceId":%s,"status":%q,"authentication":`, name, status)
	b = p.Auth.Append(b)
	b = fmt.Appendf(b, `,"capabilities":{"iotEdge":%t}}`, p.Edge)
	if b, err = r.call(ctx, "PUT", "/devices/"+url.PathEscape(id), match, b); err != nil {
		return nil, err
	}
	return r.identity(id, b)
}

func (r *remote) DeleteDevice(ctx context.Context, id string) error {
	_, err := r.call(ctx, "DELETE", "/devices/"+url.PathEscape(id), "*", nil)
	if errors.Is(err, fault.DeviceNotFound) {
		return nil
	}
	return err
}

func (r *remote) Twin(ctx context.Context, id string) (*nave.Twin, error) {
	b, err := r.call(ctx, "GET", "/twins/"+url.PathEscape(id), "", nil)
	if err != nil {
		return nil, err
	}
	p, _, err := nave.ParsePatch(b, true)
	if err != nil {
		return nil, fault.ServiceUnavailable.Wrap(err, "the hub %s answered with a twin that cannot be read", r.host)
	}
	t := nave.NewTwin(nave.ID{Device: id})
	t.Tags, t.Desired.Data = p.Tags, bareSection(p.Desired)
	return t, nil
}

// bareSection returns the section without what only the hub writes.
func bareSection(d nave.Doc) nave.Doc {
	out := nave.Doc{}
	for k, v := range d {
		if k != "$metadata" && k != "$version" {
			out[k] = v
		}
	}
	return out
}

// Check asks for what needs registry write and service connect, of a device
// that there cannot be.
func (r *remote) Check(ctx context.Context) error {
	nobody := url.PathEscape("dps-check-" + strings.ToLower(rand.Text()))
	for _, q := range []struct{ method, path, match string }{{"DELETE", "/devices/" + nobody, "*"}, {"GET", "/twins/" + nobody, ""}} {
		if _, err := r.call(ctx, q.method, q.path, q.match, nil); err != nil && !errors.Is(err, fault.DeviceNotFound) {
			return err
		}
	}
	return nil
}

// call makes one request; the answer's body is returned for 2xx.
func (r *remote) call(ctx context.Context, method, path, match string, body []byte) ([]byte, error) {
	q, err := http.NewRequestWithContext(ctx, method, "https://"+r.host+path+"?api-version="+remoteVersion, bytes.NewReader(body))
	if err != nil {
		return nil, fault.ServiceUnavailable.Wrap(err, "the hub's host name makes no URL")
	}
	token, err := cred.Sign(r.host, r.key, r.policy, time.Now().Add(remoteToken))
	if err != nil {
		return nil, fault.IotHubUnauthorizedAccess.Wrap(err, "the key of the link to %s cannot sign", r.host)
	}
	q.Header.Set("Authorization", token)
	if body != nil {
		q.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	if match != "" {
		q.Header.Set("If-Match", `"`+match+`"`)
	}
	a, err := r.web.Do(q)
	if err != nil {
		return nil, fault.ServiceUnavailable.Wrap(bareURLError(err), "An error occurred while sending the request to %s", r.host)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(io.LimitReader(a.Body, remoteAnswer))
	switch {
	case a.StatusCode >= 300:
		return nil, r.refused(a, b)
	case err != nil:
		return nil, fault.ServiceUnavailable.Wrap(err, "An error occurred while reading the answer of %s", r.host)
	}
	return b, nil
}

// bareURLError drops the URL, which may hold what is not to be logged.
func bareURLError(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// hubText is the member of Detail that holds a hub's own error body.
const hubText = "hubError"

// refused turns an error answer of the hub into the code it names.
func (r *remote) refused(a *http.Response, b []byte) error {
	text := strings.ToValidUTF8(string(bytes.TrimSpace(b)), "?")
	if len(text) > 1000 {
		text = strings.ToValidUTF8(text[:1000], "")
	}
	e := hubCode(a, text).New("the hub %s answered %d", r.host, a.StatusCode)
	if text != "" {
		e.Detail = map[string]any{hubText: text}
	}
	if n, err := strconv.Atoi(a.Header.Get("Retry-After")); err == nil && n > 0 {
		e.After = time.Duration(min(n, 60)) * time.Second
	}
	return e
}

// hubCode finds the code by the error header or the text, else by the status.
func hubCode(a *http.Response, text string) *fault.Code {
	for c := range fault.All() {
		if c.Family == fault.Hub && c.HTTP == a.StatusCode &&
			(strings.EqualFold(a.Header.Get("iothub-errorcode"), c.Name) || strings.Contains(text, c.Name+";") || strings.Contains(text, strconv.Itoa(c.ID))) {
			return c
		}
	}
	switch a.StatusCode {
	case http.StatusUnauthorized:
		return fault.IotHubUnauthorizedAccess
	case http.StatusForbidden:
		return fault.IotHubQuotaExceeded
	case http.StatusNotFound:
		return fault.DeviceNotFound
	case http.StatusConflict:
		return fault.DeviceAlreadyExists
	case http.StatusPreconditionFailed:
		return fault.PreconditionFailed
	case http.StatusRequestEntityTooLarge:
		return fault.TooManyDevices
	case http.StatusTooManyRequests:
		return fault.ThrottlingException
	}
	if a.StatusCode < 500 {
		return fault.ArgumentInvalid
	}
	return fault.ServiceUnavailable
}

// remotes keeps targets by connection string. The zero value is ready.
type remotes struct {
	mu  sync.Mutex
	all map[string]Target
}

// target returns the hub behind a link.
func (s *Service) target(l *LinkedHub) (Target, error) {
	if l.Local || l.Connection == "" {
		if t := s.o.Local(l.Name); t != nil {
			return t, nil
		}
		if l.Connection == "" {
			return nil, fault.ServiceUnavailable.New("the hub %s is linked as local, and this node does not serve it", l.Name)
		}
	}
	s.remotes.mu.Lock()
	defer s.remotes.mu.Unlock()
	if t := s.remotes.all[l.Connection]; t != nil {
		return t, nil
	}
	t, err := s.o.Remote(l.Connection)
	if err != nil {
		return nil, err
	}
	if s.remotes.all == nil || len(s.remotes.all) > 200 {
		s.remotes.all = map[string]Target{}
	}
	s.remotes.all[l.Connection] = t
	return t, nil
}
