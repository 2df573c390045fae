package dpsapi

import (
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// bodyLimit is how long the body of a request may take.
const bodyLimit = 30 * time.Second

// deviceHTTP is the device API over HTTPS (dps 2.3).
type deviceHTTP struct {
	o DeviceOptions // set by New, then read only
}

func newDeviceHTTP(s *dps.Service, log *slog.Logger) deviceHTTP {
	return deviceHTTP{DeviceOptions{Services: []*dps.Service{s}, Log: log}.withDefaults()}
}

// serve answers a request whose path has these segments, percent-decoded:
// {idScope}/registrations/{registrationId}/….
func (d *deviceHTTP) serve(w http.ResponseWriter, r *http.Request, segments []string) {
	call := &deviceCall{d: d, w: w, r: r, id: requestID(w)}
	err := call.route(segments)
	if err == nil {
		err = call.run()
	}
	if err != nil {
		call.fail(err)
	}
}

// deviceCall is one request on its way; one goroutine owns it.
type deviceCall struct {
	d       *deviceHTTP
	w       http.ResponseWriter
	r       *http.Request
	id      string // of the request
	allow   string // method that the path takes
	request request
	service *dps.Service
	claim   dps.Claim
}

// requestID is the x-ms-request-id of the answer, which an error has as its
// tracking id (dps 1.3).
func requestID(w http.ResponseWriter) string {
	const key = "X-Ms-Request-Id"
	id := w.Header().Get(key)
	if id == "" {
		id = newGUID()
		w.Header().Set(key, id)
	}
	return id
}

// route finds operation and instance.
func (c *deviceCall) route(segments []string) (err error) {
	path := c.r.URL.Path
	if len(segments) < 2 || !strings.EqualFold(segments[1], "registrations") {
		return fault.DPSGenericNotFound.New("the path %q leads nowhere", brief(path))
	}
	if c.service, err = find(c.d.o.Services, segments[0]); err != nil {
		return err
	}
	c.claim.Scope = segments[0]
	rest := segments[2:]
	if len(rest) > 0 {
		c.claim.ID = rest[0]
	}
	switch {
	case len(rest) <= 1:
		c.request.verb, c.allow = lookup, "POST"
	case len(rest) == 2 && strings.EqualFold(rest[1], "register"):
		c.request.verb, c.allow = register, "PUT"
	case len(rest) <= 3 && strings.EqualFold(rest[1], "operations"):
		c.request.verb, c.allow = status, "GET"
		if len(rest) == 3 {
			c.request.operation = rest[2]
		}
	default:
		return fault.DPSGenericNotFound.New("the path %q leads nowhere", brief(path))
	}
	if c.claim.ID == "" || c.request.verb == status && c.request.operation == "" {
		return fault.DPSGenericMethodNotAllowed.New("an id is missing in the path %q", brief(path))
	}
	if c.r.Method != c.allow {
		return fault.DPSGenericMethodNotAllowed.New("the path takes %s, not %s", c.allow, brief(c.r.Method))
	}
	return nil
}

// run reads what the device says and shows, performs the operation and answers.
func (c *deviceCall) run() (err error) {
	if c.claim.Version, err = dps.ParseVersion(c.r.URL.Query().Get("api-version")); err != nil {
		return err
	}
	if c.request.verb != status { // Node and Java send a body with polls
		if c.request.body, err = c.body(); err != nil {
			return err
		}
	}
	c.claim.SAS = c.r.Header.Get("Authorization")
	c.claim.Client = brief(c.r.UserAgent())
	c.claim.Transport, c.claim.Remote = "https", c.r.RemoteAddr
	if c.r.TLS != nil {
		c.claim.Certs = c.r.TLS.PeerCertificates
	}
	prefer(&c.claim)
	reply, err := run(c.r.Context(), c.service, &c.claim, &c.request)
	if err != nil {
		return err
	}
	code := http.StatusOK
	if reply.running() {
		code = http.StatusAccepted
		c.w.Header().Set("Retry-After", strconv.Itoa(reply.retry))
	}
	if c.request.verb == register {
		c.w.Header().Set("Location", "https://"+c.r.Host+c.r.URL.RequestURI())
	}
	c.write(code, reply.body)
	return nil
}

// body reads JSON; blanks count as none (dps 2.1.1).
func (c *deviceCall) body() (b []byte, err error) {
	if b, err = readBody(c.w, c.r); err != nil {
		return nil, err
	}
	if b = trim(b); b == nil {
		return nil, nil
	}
	return b, checkType(c.r.Header)
}

// maxDrain is how much of a body that is too large is read nevertheless: closing
// on a client that still sends would cost it the answer.
const maxDrain = 2 << 20

// readBody reads at most 96 KB in at most 30 s: MessageTooLarge,
// GenericBadRequest.
func readBody(w http.ResponseWriter, r *http.Request) (b []byte, err error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyLimit))
	if r.ContentLength <= maxBody {
		b, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fault.DPSGenericBadRequest.New("the body did not end in time")
	case err != nil:
		return nil, fault.DPSGenericBadRequest.Wrap(err, "the body ended early")
	case len(b) > maxBody || r.ContentLength > maxBody:
		io.CopyN(io.Discard, r.Body, maxDrain)
		return nil, fault.DPSMessageTooLarge.New("the body has more than the %d bytes that are taken", maxBody)
	}
	return b, nil
}

// checkType refuses what is not JSON. The samples of the documentation name the
// character set where a compression belongs (dps 2.3).
func checkType(h http.Header) error {
	if text := h.Get("Content-Type"); text != "" {
		kind, params, err := mime.ParseMediaType(text)
		charset, given := params["charset"]
		if err != nil || kind != "application/json" || given && !strings.EqualFold(charset, "utf-8") {
			return fault.DPSIncompatibleDataType.New("the body is %q, application/json in UTF-8 is taken", brief(text))
		}
	}
	switch coding := h.Get("Content-Encoding"); strings.ToLower(coding) {
	case "", "identity", "utf-8":
		return nil
	default:
		return fault.DPSIncompatibleDataType.New("the body has the coding %q, none is taken", brief(coding))
	}
}

// fail answers an error, or the challenge of a TPM (dps 2.9.3, 3.13).
func (c *deviceCall) fail(err error) {
	if ch := (*dps.Challenge)(nil); errors.As(err, &ch) {
		out, err := encode(newChallenge(ch))
		if err == nil {
			c.write(http.StatusUnauthorized, out.body)
			return
		}
	}
	e := refusal(err)
	e.Tracking = c.id
	h := c.w.Header()
	h.Set("X-Ms-Error-Code", strconv.Itoa(e.Code.ID))
	if e.Code.HTTP == http.StatusMethodNotAllowed {
		h.Set("Allow", c.allow)
	}
	if retryable(e.Code) {
		h.Set("Retry-After", strconv.Itoa(retrySeconds(e.After)))
	}
	c.d.o.note(c.service, c.request.verb.String(), c.claim.ID, c.r.RemoteAddr, e)
	c.write(e.Code.HTTP, refusalBody(e))
}

func (c *deviceCall) write(code int, body []byte) {
	h := c.w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(code)
	c.w.Write(body)
}
