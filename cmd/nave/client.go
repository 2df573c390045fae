package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

// apiVersion is what requests to a hub's service REST ask for.
const apiVersion = "2021-04-12"

// client calls one hub: through the console of its node, or over HTTPS with a
// service connection string.
type client struct {
	// Set by env.client, then read only:
	http  *http.Client
	base  string // of the console, or of the hub
	token string // of the console, "" with a connection string
	login *cred.ConnectionString
	host  string // of the hub, "" until ask has found it
	e     *env
}

// client returns the way to the hub that the flags name.
func (e *env) client(ctx context.Context) (*client, error) {
	if e.login != "" {
		return e.direct()
	}
	return e.operator(ctx)
}

// operator returns the way through the console, for what only an operator may
// do.
func (e *env) operator(ctx context.Context) (*client, error) {
	if e.login != "" {
		return nil, misuse("Leave --login and NAVE_LOGIN away and run the command where the node runs, or name its console with --console and --token.",
			"this command needs the console of a node, a connection string does not suffice")
	}
	at, err := e.findConsole()
	if err != nil {
		return nil, err
	}
	c := &client{http: &http.Client{}, base: strings.TrimRight(at.URL, "/"), token: at.Token, host: e.hub, e: e}
	if c.host == "" {
		var s statusAnswer
		if err := c.ask(ctx, http.MethodGet, "/api/status", nil, &s); err != nil {
			return nil, err
		}
		if len(s.Hubs) == 0 {
			return nil, trouble("", "the node has no hub")
		}
		c.host = s.Hubs[0].Host
	}
	return c, nil
}

// consoleFile is what a node writes into its data folder.
type consoleFile struct {
	URL   string `json:"url"`
	Token string `json:"token"`
}

func (e *env) findConsole() (at consoleFile, err error) {
	name := filepath.Join(e.data, "console.json")
	text, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(text, &at)
	}
	if e.console != "" {
		if !strings.Contains(e.console, "://") {
			e.console = "http://" + e.console
		}
		if e.token != "" || err != nil || strings.TrimRight(at.URL, "/") != strings.TrimRight(e.console, "/") {
			at = consoleFile{Token: e.token}
		}
		at.URL = e.console
		if at.Token == "" {
			return at, misuse("Give the token of the node's console.json with --token or NAVE_TOKEN.", "no token for the console %s", e.console)
		}
		return at, nil
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return at, trouble("Start a hub with 'nave serve', or say where one is: --data FOLDER, --console URL --token TOKEN, or --login CONNECTION-STRING.",
			"no node has its data in %s", e.data)
	case err != nil:
		return at, trouble("Check who may read the file, and that the node runs.", "the console's address can't be read: %w", err)
	}
	if e.token != "" {
		at.Token = e.token
	}
	return at, nil
}

// direct returns the way with a service connection string.
func (e *env) direct() (*client, error) {
	s, err := cred.ParseConnectionString(e.login)
	switch {
	case err != nil:
		return nil, misuse("Copy the string from 'nave policy connection-string iothubowner'.", "the connection string of --login is unusable: %v", err)
	case s.HostName == "" || s.Policy == "" && s.SAS == "":
		return nil, misuse("Copy the string from 'nave policy connection-string iothubowner'.", "--login needs a service connection string, with HostName and SharedAccessKeyName")
	}
	roots, err := e.roots()
	if err != nil {
		return nil, err
	}
	host := s.HostName
	if s.Gateway != "" {
		host = s.Gateway
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: roots}
	return &client{http: &http.Client{Transport: t}, base: "https://" + host, login: s, host: hostOnly(s.HostName), e: e}, nil
}

// hostOnly cuts a port off.
func hostOnly(host string) string {
	name, _, _ := strings.Cut(host, ":")
	return name
}

// roots returns what to trust: the system's CAs, and --ca or the CA of the data
// folder; nil for the system's alone.
func (e *env) roots() (*x509.CertPool, error) {
	name := e.ca
	if name == "" {
		name = filepath.Join(e.data, "ca.pem")
	}
	text, err := os.ReadFile(name)
	if err != nil {
		if e.ca == "" {
			return nil, nil
		}
		return nil, trouble("Name a PEM file with --ca.", "the CA can't be read: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, trouble("Name a PEM file with a certificate, for example ca.pem of the node's data folder.", "%s holds no certificate", name)
	}
	return pool, nil
}

// request is one call of the hub's service REST.
type request struct {
	method, path string // the path is escaped
	query        url.Values
	match        string // etag, unquoted; "" none
	body         any    // []byte as it is, else JSON; nil none
}

// tokenLife is how long a token for one request is good.
const tokenLife = 10 * time.Minute

// rest calls the hub's service REST and reads the answer into out unless that
// is nil.
func (c *client) rest(ctx context.Context, q request, out any) error {
	if q.query == nil {
		q.query = url.Values{}
	}
	q.query.Set("api-version", apiVersion)
	at := c.base + q.path
	if c.login == nil {
		at = c.base + "/api/hubs/" + url.PathEscape(c.host) + "/rest" + q.path
	}
	r, err := c.newRequest(ctx, q.method, at+"?"+q.query.Encode(), q.body)
	if err != nil {
		return err
	}
	if q.match != "" {
		r.Header.Set("If-Match", quoted(q.match))
	}
	return c.do(r, out)
}

func quoted(etag string) string {
	if etag == "*" || strings.HasPrefix(etag, `"`) {
		return etag
	}
	return `"` + etag + `"`
}

// ask calls the console.
func (c *client) ask(ctx context.Context, method, path string, body, out any) error {
	r, err := c.newRequest(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	return c.do(r, out)
}

// askHub calls an operation of the console on the hub.
func (c *client) askHub(ctx context.Context, method, path string, body, out any) error {
	return c.ask(ctx, method, "/api/hubs/"+url.PathEscape(c.host)+path, body, out)
}

func (c *client) newRequest(ctx context.Context, method, at string, body any) (*http.Request, error) {
	var b io.Reader
	switch v := body.(type) {
	case nil:
	case []byte:
		b = bytes.NewReader(v)
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		b = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, at, b)
	if err != nil {
		return nil, misuse("Check the address.", "the address can't be called: %v", err)
	}
	if b != nil {
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	r.Header.Set("User-Agent", "nave/"+version())
	proof, err := c.proof()
	r.Header.Set("Authorization", proof)
	return r, err
}

func (c *client) proof() (string, error) {
	switch {
	case c.login == nil:
		return "Bearer " + c.token, nil
	case c.login.SAS != "":
		return c.login.SAS, nil
	}
	return cred.Sign(c.host, c.login.Key, c.login.Policy, time.Now().Add(tokenLife))
}

func (c *client) do(r *http.Request, out any) error {
	answer, err := c.send(r)
	if err != nil {
		return err
	}
	return decode(answer, out)
}

// decode reads an answer into out unless that is nil, and closes it.
func decode(answer *http.Response, out any) error {
	defer answer.Body.Close()
	if out == nil || answer.StatusCode == http.StatusNoContent {
		return nil
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return trouble("Try again.", "the answer broke off: %w", err)
	}
	if raw, ok := out.(*json.RawMessage); ok {
		*raw = body
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return trouble("Check that the address is one of an IoT hub or of a nave console.", "the answer can't be read: %w", err)
	}
	return nil
}

// send returns an answer that is no error; the caller closes its body.
func (c *client) send(r *http.Request) (*http.Response, error) {
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if answer.StatusCode >= http.StatusBadRequest && !partly(answer) {
		defer answer.Body.Close()
		return nil, answerFailure(answer)
	}
	return answer, nil
}

// partly says whether a bulk call was refused for some of its entries: that
// comes as 400 with an ordinary answer (service-api 2.5, 2.6).
func partly(answer *http.Response) bool {
	name := answer.Header.Get("iothub-errorcode")
	return name == "BulkRegistryOperationFailure" || name == "BulkRegenerateDeviceKeyOperationFailure"
}

func (c *client) unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	var unknown x509.UnknownAuthorityError
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	switch {
	case errors.As(err, &unknown):
		return trouble("Name the hub's CA with --ca FILE; a node keeps it as ca.pem in its data folder.", "the hub's certificate is not trusted: %w", err)
	case c.login != nil:
		return trouble("Check the host name, and that the hub runs and can be reached.", "the hub %s can't be reached: %w", c.base, err)
	}
	return trouble(fmt.Sprintf("Start the node with 'nave serve --data %s', or name another with --data or --console.", c.e.data),
		"the node's console at %s can't be reached: %w", c.base, err)
}

// idPath returns the path of an identity below a collection such as /devices.
func idPath(collection, device, module string) string {
	path := collection + "/" + url.PathEscape(device)
	if module != "" {
		path += "/modules/" + url.PathEscape(module)
	}
	return path
}
