package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/nave-hub/nave/internal/fault"
)

// failure is an error that knows its remedy.
type failure struct {
	text     string
	fix      string // what to do, "" when unknown
	code     *fault.Code
	tracking string
	usage    bool // the command line is wrong: exit code 2
	cause    error
}

func (f *failure) Error() string {
	if f.code != nil {
		return f.code.Error() + ": " + f.text
	}
	return f.text
}

func (f *failure) Unwrap() error { return f.cause }

// misuse is a failure of the command line itself.
func misuse(fix, format string, args ...any) error {
	return &failure{text: fmt.Sprintf(format, args...), fix: fix, usage: true}
}

// trouble is a failure with its remedy.
func trouble(fix, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &failure{text: err.Error(), fix: fix, cause: errors.Unwrap(err)}
}

// tell writes an error and its remedy for people and returns the exit code.
func (e *env) tell(err error, command string) int {
	var f *failure
	if !errors.As(err, &f) {
		f = known(err)
	}
	text := f.Error()
	if f.code == nil && !errors.Is(err, f) && err.Error() != f.text {
		text = err.Error()
	}
	e.say("%s %s", paint(e.colorErr, red, "error:"), oneLine(text))
	if f.fix != "" {
		e.say("  %s %s", paint(e.colorErr, bold, "To do:"), oneLine(f.fix))
	}
	if f.code != nil {
		more := fmt.Sprintf("'nave explain %s' tells more.", explainArgument(f.code))
		if f.tracking != "" {
			more += " Tracking id: " + f.tracking
		}
		e.say("  %s", paint(e.colorErr, dim, oneLine(more)))
	}
	if f.usage {
		e.say("  'nave help%s' shows how the command is used.", strings.TrimPrefix(command, "nave"))
		return 2
	}
	return 1
}

// explainArgument names a code so that explain finds this one and no other.
func explainArgument(c *fault.Code) string {
	if c.Family == fault.Hub {
		return strconv.Itoa(c.ID)
	}
	return c.Name
}

// known finds the remedy of an error that was not made here.
func known(err error) *failure {
	var e *fault.Error
	if errors.As(err, &e) {
		return &failure{text: e.Text, fix: e.Code.Fix, code: e.Code, tracking: e.Tracking, cause: err}
	}
	return &failure{text: err.Error(), cause: err}
}

// maxAnswer is the greatest body of an error that is read.
const maxAnswer = 64 << 10

// answerFailure reads an error that a hub or a console answered, in any of the
// forms of service-api 2.2.
func answerFailure(r *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxAnswer))
	f := &failure{}
	var own struct {
		Error *struct {
			Code               int
			Name, Message, Fix string
			Tracking           string `json:"trackingId"`
		}
	}
	var old struct{ Message, ExceptionMessage string }
	var provisioning struct {
		ErrorCode  int
		Message    string
		TrackingID string `json:"trackingId"`
	}
	switch {
	case f.readProblem(body): // connectivity-api 4
	case json.Unmarshal(body, &provisioning) == nil && provisioning.ErrorCode != 0: // dps 3.13
		f.code, f.text, f.tracking = fault.Lookup(provisioning.ErrorCode, fault.DPS), provisioning.Message, provisioning.TrackingID
	case json.Unmarshal(body, &own) == nil && own.Error != nil:
		o := own.Error
		f.code, f.text, f.fix, f.tracking = codeOf(o.Code, o.Name), o.Message, o.Fix, o.Tracking
	case json.Unmarshal(body, &old) == nil && old.Message != "":
		f.readOld(old.Message, old.ExceptionMessage)
	default:
		f.text = strings.TrimSpace(string(body))
	}
	if f.code == nil {
		f.code = codeOf(0, r.Header.Get("iothub-errorcode"))
	}
	return f.fill(r)
}

// fill completes what the answer left open.
func (f *failure) fill(r *http.Response) error {
	if f.text == "" {
		f.text = "the hub answered " + r.Status
	}
	if f.code != nil && f.fix == "" {
		f.fix = f.code.Fix
	}
	if f.code == nil {
		f.text = fmt.Sprintf("the hub answered %s: %s", r.Status, f.text)
		if found := fault.Find(strconv.Itoa(r.StatusCode)); len(found) > 0 {
			f.fix = found[0].Fix
		}
	}
	return f
}

var trackingID = regexp.MustCompile(`[0-9a-fA-F]{32}-G:[0-9]+-TimeStamp:[0-9/]+ [0-9:]+`)

// readOld reads forms A, B and H of service-api 2.2.
func (f *failure) readOld(message, exception string) {
	f.tracking = trackingID.FindString(exception)
	if rest, ok := strings.CutPrefix(message, "ErrorCode:"); ok {
		name, text, _ := strings.Cut(rest, ";")
		text, _, _ = strings.Cut(text, ";{")
		f.code, f.text = codeOf(0, name), text
		return
	}
	var inner struct {
		ErrorCode  int
		Message    string
		TrackingID string `json:"trackingId"`
	}
	if json.Unmarshal([]byte(message), &inner) != nil {
		f.text = message
		return
	}
	f.code, f.text = codeOf(inner.ErrorCode, ""), inner.Message
	if inner.TrackingID != "" {
		f.tracking = inner.TrackingID
	}
}

func codeOf(id int, name string) *fault.Code {
	if c := fault.Lookup(id, fault.Hub); c != nil {
		return c
	}
	if name == "" {
		return nil
	}
	return fault.ByName(name)
}
