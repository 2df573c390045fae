package fault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

var errDisk = errors.New("disk /var/secret is full")

func TestOccurrence(t *testing.T) {
	e := fault.DeviceNotFound.New("device %s", "d1")
	if e.Code != fault.DeviceNotFound || e.Text != "device d1" || e.Error() != "404001 DeviceNotFound: device d1" {
		t.Errorf("New gives %+v", e)
	}
	if got := fault.DeviceNotFound.New("100%% of it").Text; got != "100% of it" {
		t.Errorf("a format without arguments gives %q", got)
	}
	if got := fault.DeviceNotFound.New("").Text; got != fault.DeviceNotFound.Why {
		t.Errorf("an empty format gives %q", got)
	}
	if e.RetryAfter(3*time.Second) != e || e.After != 3*time.Second {
		t.Error("RetryAfter does not set After")
	}
}

func TestIs(t *testing.T) {
	wrapped := fmt.Errorf("reading: %w", fault.ServerError.Wrap(errDisk, "no twin"))
	for _, c := range []struct {
		err, target error
		want        bool
	}{
		{fault.DeviceNotFound, fault.DeviceNotFound, true},
		{fault.DeviceNotFound.New("x"), fault.DeviceNotFound, true},
		{fault.DeviceNotFound.New("x"), fault.ModuleNotFound, false},
		{fault.ServerError.New("x"), fault.DPSServerError, false},
		{wrapped, fault.ServerError, true},
		{wrapped, errDisk, true},
		{fault.GatewayTimeout.Wrap(fault.DeviceNotOnline.New("x"), "y"), fault.DeviceNotOnline, true},
	} {
		if got := errors.Is(c.err, c.target); got != c.want {
			t.Errorf("errors.Is(%v, %v) = %v", c.err, c.target, got)
		}
	}
	if got := errors.Unwrap(fault.ServerError.Wrap(errDisk, "x")); got != errDisk {
		t.Errorf("Unwrap gives %v", got)
	}
	if got := errors.Unwrap(fault.ServerError.New("x")); got != nil {
		t.Errorf("Unwrap without a cause gives %v", got)
	}
}

func TestOver(t *testing.T) {
	e := fault.DeviceMaximumQueueDepthExceeded.Over("c2d.maxPending", 50, 51, "the queue of %s is full", "d1")
	if e.Text != "the queue of d1 is full (limit 50, setting c2d.maxPending, observed 51)" {
		t.Errorf("text %q", e.Text)
	}
	if e.Setting != "c2d.maxPending" || e.Limit != 50 || e.Observed != 51 {
		t.Errorf("fields %q %v %v", e.Setting, e.Limit, e.Observed)
	}
}

func TestClean(t *testing.T) {
	bad := "a;b{c}\r\nd\x00\xff"
	const want = "a,b(c)  d ?"
	for _, e := range []*fault.Error{
		fault.ArgumentInvalid.New("%s", bad), fault.ArgumentInvalid.Wrap(errDisk, "%s", bad),
	} {
		if e.Text != want {
			t.Errorf("text %q, want %q", e.Text, want)
		}
	}
	over := fault.ArgumentInvalid.Over("s{", bad, bad, "%s", bad)
	if strings.ContainsAny(over.Text, ";{\x00\r\n") {
		t.Errorf("text %q", over.Text)
	}
}

func TestFrom(t *testing.T) {
	if fault.From(nil) != nil {
		t.Error("From(nil) is not nil")
	}
	var none *fault.Error
	known := fault.DeviceNotFound.New("device d1")
	for _, c := range []struct {
		err  error
		want *fault.Code
		text string
	}{
		{known, fault.DeviceNotFound, "device d1"},
		{fmt.Errorf("reading: %w", known), fault.DeviceNotFound, "device d1"},
		{errors.Join(errDisk, known), fault.DeviceNotFound, "device d1"},
		{fault.GatewayTimeout.Wrap(known, "outer"), fault.GatewayTimeout, "outer"},
		{fault.ServerBusy, fault.ServerBusy, fault.ServerBusy.Why},
		{fmt.Errorf("%w: /var/secret", fault.ServerBusy), fault.ServerBusy, fault.ServerBusy.Why},
		{context.DeadlineExceeded, fault.GenericGatewayTimeout, ""},
		{fmt.Errorf("calling: %w", context.Canceled), fault.RequestCanceled, ""},
		{fault.DeviceNotOnline.Wrap(context.DeadlineExceeded, "d1"), fault.DeviceNotOnline, "d1"},
		{errDisk, fault.ServerError, ""},
		{none, fault.ServerError, ""},
		{&fault.Error{}, fault.ServerError, ""},
	} {
		e := fault.From(c.err)
		if e.Code != c.want || c.text != "" && e.Text != c.text {
			t.Errorf("From(%T) = %v %q, want %v %q", c.err, e.Code, e.Text, c.want, c.text)
		}
		if e.Text == "" || strings.Contains(e.Text, "secret") || strings.Contains(e.Error(), "secret") {
			t.Errorf("From(%T): text %q", c.err, e.Text)
		}
		if e.At.IsZero() || e.Tracking == "" {
			t.Errorf("From(%T) leaves At or Tracking empty", c.err)
		}
	}
	if known.Tracking != "" || !known.At.IsZero() {
		t.Error("From changed an error that others may hold")
	}
	if !errors.Is(fault.From(errDisk), errDisk) {
		t.Error("From loses the cause")
	}
	once := fault.From(errDisk)
	if again := fault.From(fmt.Errorf("outer: %w", once)); again != once {
		t.Error("From changes what is already filled")
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	set := fault.From(&fault.Error{Code: fault.ServerBusy, Text: "x", At: at})
	if !set.At.Equal(at) || !strings.HasSuffix(set.Tracking, "01/02/2026 03:04:05") {
		t.Errorf("From ignores At: %v %s", set.At, set.Tracking)
	}
}

func TestLog(t *testing.T) {
	var b bytes.Buffer
	e := fault.From(fault.ServerError.Wrap(errDisk, "no twin"))
	slog.New(slog.NewTextHandler(&b, nil)).Error("failed", "err", e)
	for _, want := range []string{"err.code=500001", "err.name=ServerError", errDisk.Error(), e.Tracking} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the log lacks %q: %s", want, b.String())
		}
	}
}

func TestTracking(t *testing.T) {
	at := time.Date(2020, 2, 21, 3, 21, 26, 0, time.FixedZone("", 3600))
	one, two := fault.Tracking(at), fault.Tracking(at)
	form := regexp.MustCompile(`^[0-9a-f]{32}-G:0-TimeStamp:02/21/2020 02:21:26$`)
	if !form.MatchString(one) || !form.MatchString(two) || one == two {
		t.Errorf("tracking ids %q and %q", one, two)
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{fault.Never.String(): "never", fault.Later.String(): "later",
		fault.Refresh.String(): "refresh", fault.Backoff.String(): "backoff", fault.Retry(9).String(): "unknown",
		fault.Close.String(): "close", fault.Connack1.String(): "connack 1", fault.Connack3.String(): "connack 3",
		fault.Connack5.String(): "connack 5", fault.Response.String(): "response"} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
