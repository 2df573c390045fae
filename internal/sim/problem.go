package sim

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// Keys of fault.Error.Detail that this package and its surface use.
const (
	DetailIssues   = "issues"           // []Issue
	DetailExternal = "externalErrors"   // []ExternalError
	DetailAdvice   = "advice"           // []string
	DetailMonitor  = "monitor"          // string: id of the change in progress
	DetailProduct  = "productId"        // string
	DetailViolated = "violatedPolicies" // []string
	advicePlatform = "check_platform_credentials"
	adviceRequest  = "check_request"
	adviceLater    = "retry_later"
)

// Problem is an error as the API shows it (connectivity-api ER-2).
type Problem struct {
	Type           string          `json:"type"`
	Title          string          `json:"title"`
	Status         int             `json:"status"`
	Detail         string          `json:"detail"`
	Message        string          `json:"message"`
	Instance       string          `json:"instance"`
	Code           string          `json:"code"`
	TraceID        string          `json:"traceId"`
	Timestamp      Time            `json:"timestamp"`
	ExternalErrors []ExternalError `json:"externalErrors"`
	AtType         string          `json:"@type"`
	Errors         []Issue         `json:"errors,omitempty"`
	Advice         []string        `json:"advice,omitempty"`
	ProductID      string          `json:"productId,omitempty"`
	Monitor        string          `json:"monitor,omitempty"` // an id until WithBase
	Violated       []string        `json:"violated-policies,omitempty"`
}

// Issue is one mistake in a request (connectivity-api 4).
type Issue struct {
	In        string `json:"in"`
	Pointer   string `json:"pointer,omitempty"`
	Parameter string `json:"parameter,omitempty"`
	Code      string `json:"code"`
	Detail    string `json:"detail"`
}

// MarshalJSON writes the place of an issue also when it is empty: the whole
// body, or a parameter without a name.
func (i Issue) MarshalJSON() ([]byte, error) {
	if i.In == "body" {
		return json.Marshal(struct {
			In      string `json:"in"`
			Pointer string `json:"pointer"`
			Code    string `json:"code"`
			Detail  string `json:"detail"`
		}{i.In, i.Pointer, i.Code, i.Detail})
	}
	return json.Marshal(struct {
		In        string `json:"in"`
		Parameter string `json:"parameter"`
		Code      string `json:"code"`
		Detail    string `json:"detail"`
	}{i.In, i.Parameter, i.Code, i.Detail})
}

// ExternalError is what a platform answered; Status is nil without an answer.
type ExternalError struct {
	Platform   string `json:"platform"`
	Account    string `json:"account"`
	Status     *int   `json:"status"`
	Class      Class  `json:"class"`
	Code       string `json:"code,omitempty"`
	Title      string `json:"title,omitempty"`
	Detail     string `json:"detail,omitempty"`
	Body       string `json:"body,omitempty"`
	DurationMS int64  `json:"durationMs"`
}

// Warning is advice that comes with a success.
type Warning struct {
	Parameter string `json:"parameter,omitempty"`
	Code      string `json:"code"`
	Detail    string `json:"detail"`
}

// NewProblem returns err as the API shows it; instance is the path of the
// request, trace its correlation id. Codes of other families become the one
// that fits.
func NewProblem(err error, at time.Time, instance, trace string) *Problem {
	e := own(fault.From(err))
	title, slug := titleOf(e.Code)
	p := &Problem{Type: slug, Title: title, Status: e.Code.HTTP, Detail: e.Text, Message: e.Text, Instance: instance, Code: e.Code.Name,
		TraceID: trace, Timestamp: At(at), ExternalErrors: []ExternalError{}, AtType: "problem"}
	if all, ok := e.Detail[DetailExternal].([]ExternalError); ok {
		p.ExternalErrors = all
	}
	p.Errors, _ = e.Detail[DetailIssues].([]Issue)
	p.Advice, _ = e.Detail[DetailAdvice].([]string)
	p.Monitor, _ = e.Detail[DetailMonitor].(string)
	p.ProductID, _ = e.Detail[DetailProduct].(string)
	p.Violated, _ = e.Detail[DetailViolated].([]string)
	if p.Advice == nil && p.Status == 500 {
		p.Advice = []string{adviceLater}
	}
	if p.Violated == nil && e.Code == fault.SIMPlatformRateLimited {
		p.Violated = []string{"platform"}
	}
	return p
}

// WithBase turns the monitor's id into its URI below base and returns p.
func (p *Problem) WithBase(base string) *Problem {
	if p.Monitor != "" {
		p.Monitor = base + "/monitor/" + p.Monitor
	}
	return p
}

// own returns an occurrence with a code of the connectivity API.
func own(e *fault.Error) *fault.Error {
	if e.Code.Family == fault.SIM {
		return e
	}
	code := fault.SIMInternalError
	switch {
	case e.Code == fault.IotHubUnauthorizedAccess:
		code = fault.SIMPermissionMissing
	case e.Code.HTTP == 429:
		code = fault.SIMRateLimited
	}
	text := "The hub could not carry out the request, the cause is in its log."
	if code != fault.SIMInternalError {
		text = ""
	}
	n := code.Wrap(e, "%s", text)
	if text == "" {
		n.Text = code.Why
	}
	n.After, n.Tracking, n.At = e.After, e.Tracking, e.At
	return n
}

// titleOf returns title and type of a code (connectivity-api 12.2).
func titleOf(c *fault.Code) (title, slug string) {
	const at = "/problems/"
	switch {
	case c == fault.SIMAddressBanned:
		return "Too Many Requests", "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"
	case c.HTTP == 429:
		return "Too Many Requests", "https://iana.org/assignments/http-problem-types#quota-exceeded"
	case c == fault.SIMValidationFailed:
		return "Missing or malformed parameter", at + "missing-or-malformed-parameter"
	case c.HTTP == 400 && c.ID >= 40040:
		return "Invalid Action", at + "invalid-action"
	case c.HTTP == 400:
		return "Bad Request", at + "bad-request"
	case c.HTTP == 401:
		return "Unauthorized", at + "unauthorized"
	case c.HTTP == 403:
		return "Forbidden", at + "forbidden"
	case c.HTTP == 404:
		return "Not Found", at + "not-found"
	case c.HTTP == 409:
		return "Conflict", at + "conflict"
	case c.HTTP == 413:
		return "Content Too Large", at + "content-too-large"
	case c.HTTP == 431:
		return "Request Header Fields Too Large", at + "header-too-large"
	}
	return "Internal Server Error", at + "internal-server-error"
}

// Title returns title and type of a code of the connectivity API.
func Title(c *fault.Code) (title, slug string) { return titleOf(c) }

// coded says whether err carries a code of the catalogue.
func coded(err error) bool {
	var e *fault.Error
	return errors.As(err, &e)
}
