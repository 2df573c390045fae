package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

const (
	apiVersion = "2021-04-12"
	bulkItems  = 100 // service-api 2.5
	tokenLife  = time.Hour
	retryTime  = 2 * time.Minute // how long a refusal that asks to come back later is obeyed
)

// ServiceOptions say how a hub is reached.
type ServiceOptions struct {
	HTTPS    string      // host:port that is dialled for REST; "": the connection string's gateway or host, port 443
	MQTT     string      // host:port that is dialled for MQTT over TLS; "": the same host, port 8883
	AMQP     string      // host:port that is dialled for AMQP over TLS; "": the same host, port 5671
	TLS      *tls.Config // nil: the system's roots
	Parallel int         // connections for REST; default 64
}

// Service is the back end's side of a hub: the service REST API, as far as load needs it. Its methods may be called from any goroutine.
type Service struct {
	// Set by OpenService, then read only:
	host, policy, key, sas string
	target, amqp           Target
	http                   *http.Client

	// Guarded by mu:
	mu      sync.Mutex
	token   string
	expires time.Time
}

// OpenService reads a service connection string; nothing is dialled yet.
func OpenService(login string, o ServiceOptions) (*Service, error) {
	c, err := cred.ParseConnectionString(login)
	switch {
	case err != nil:
		return nil, err
	case c.HostName == "" || c.DeviceID != "" || c.Policy == "" && c.SAS == "":
		return nil, errors.New("a service connection string is needed: HostName=…;SharedAccessKeyName=…;SharedAccessKey=…")
	}
	conf := o.TLS.Clone()
	if conf == nil {
		conf = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	name, _ := splitPort(c.HostName)
	host, port := splitPort(orDefault(c.Gateway, c.HostName))
	conf.ServerName = name
	s := &Service{host: name, policy: c.Policy, key: c.Key, sas: c.SAS}
	s.target = Target{Address: orDefault(o.MQTT, net.JoinHostPort(host, "8883")), TLS: conf}
	s.amqp = Target{Address: orDefault(o.AMQP, net.JoinHostPort(host, "5671")), TLS: conf}
	address, parallel := orDefault(o.HTTPS, net.JoinHostPort(host, orDefault(port, "443"))), o.Parallel
	if parallel == 0 {
		parallel = 64
	}
	s.http = &http.Client{Transport: &http.Transport{TLSClientConfig: conf, MaxIdleConnsPerHost: parallel, MaxConnsPerHost: parallel,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
		}}}
	return s, nil
}

// splitPort cuts the port off a host name that has one.
func splitPort(text string) (host, port string) {
	if host, port, err := net.SplitHostPort(text); err == nil {
		return host, port
	}
	return text, ""
}

// Close gives idle connections back.
func (s *Service) Close() { s.http.CloseIdleConnections() }

// Target is where the hub's devices connect by MQTT over TLS.
func (s *Service) Target() Target { return s.target }

// AMQP is where the hub speaks AMQP over TLS.
func (s *Service) AMQP() Target { return s.amqp }

// Host is the hub's host name.
func (s *Service) Host() string { return s.host }

func (s *Service) authorization() (string, error) {
	if s.sas != "" {
		return s.sas, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Until(s.expires) < tokenLife/4 {
		token, err := cred.Sign(s.host, s.key, s.policy, time.Now().Add(tokenLife))
		if err != nil {
			return "", err
		}
		s.token, s.expires = token, time.Now().Add(tokenLife)
	}
	return s.token, nil
}

// StatusError is an answer of the REST API other than 2xx.
type StatusError struct {
	Status int
	Code   string // iothub-errorcode, "" when not sent
	Text   string // beginning of the body
	After  time.Duration

	body []byte
}

// Error gives status, code and text.
func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s %s", e.Status, e.Code, e.Text))
}

// call sends one request and decodes the answer into out unless that is nil.
func (s *Service) call(ctx context.Context, method, path string, body []byte, out any) error {
	token, err := s.authorization()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+s.host+path+"?api-version="+apiVersion, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", token)
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return statusError(resp, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

func statusError(resp *http.Response, text []byte) error {
	e := &StatusError{Status: resp.StatusCode, Code: resp.Header.Get("iothub-errorcode"), Text: string(text[:min(len(text), 400)]), body: text}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		e.After = time.Duration(n) * time.Second
	}
	return e
}

// patient is call, repeated as long as the hub asks to come back later.
func (s *Service) patient(ctx context.Context, method, path string, body []byte) error {
	until, delay := time.Now().Add(retryTime), time.Second
	for {
		err := s.call(ctx, method, path, body, nil)
		var status *StatusError
		if !errors.As(err, &status) || status.Status != 429 && status.Status != 503 || time.Now().After(until) {
			return err
		}
		if !wait(ctx, max(delay, status.After)) {
			return context.Cause(ctx)
		}
		delay = min(2*delay, 30*time.Second)
	}
}

// Invoke calls a direct method and returns the device's status.
func (s *Service) Invoke(ctx context.Context, device, name string, payload json.RawMessage) (status int, err error) {
	body, err := json.Marshal(map[string]any{"methodName": name, "payload": payload, "responseTimeoutInSeconds": 30})
	if err != nil {
		return 0, err
	}
	var reply struct {
		Status int `json:"status"`
	}
	err = s.call(ctx, "POST", "/twins/"+url.PathEscape(device)+"/methods", body, &reply)
	return reply.Status, err
}
