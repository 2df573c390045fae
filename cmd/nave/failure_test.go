package main

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/nave-hub/nave/internal/fault"
)

// TestAnswerFailure reads the error forms of service-api 2.2 and others that a
// hub or a proxy may send.
func TestAnswerFailure(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef-G:1-TimeStamp:07/16/2016 00:12:41"
	for name, c := range map[string]struct {
		status       int
		header, body string
		code         *fault.Code
		text, id     string
	}{
		"form A":          {409, "", `{"Message":"ErrorCode:DeviceAlreadyExists;taken","ExceptionMessage":"Tracking ID:` + id + `"}`, fault.DeviceAlreadyExists, "taken", id},
		"form B":          {404, "", `{"Message":"{\"errorCode\":404103,\"trackingId\":\"` + id + `\",\"message\":\"offline\"}","ExceptionMessage":""}`, fault.DeviceNotOnline, "offline", id},
		"form H":          {404, "", `{"Message":"ErrorCode:DeviceNotFound;gone;{\"Message\":\"x\"}","ExceptionMessage":""}`, fault.DeviceNotFound, "gone", ""},
		"console":         {404, "", `{"error":{"code":404001,"name":"DeviceNotFound","message":"gone","fix":"look","trackingId":"` + id + `"}}`, fault.DeviceNotFound, "gone", id},
		"header only":     {412, "PreconditionFailed", ``, fault.PreconditionFailed, "the hub answered", ""},
		"proxy":           {502, "", `<html>bad</html>`, nil, "<html>", ""},
		"nothing":         {500, "", ``, nil, "the hub answered", ""},
		"unknown code":    {400, "", `{"Message":"ErrorCode:Brand new;x"}`, nil, "x", ""},
		"message is text": {400, "ArgumentInvalid", `{"Message":"plain"}`, fault.ArgumentInvalid, "plain", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Response{Status: http.StatusText(c.status), StatusCode: c.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(c.body))}
			r.Header.Set("iothub-errorcode", c.header)
			var f *failure
			if !errors.As(answerFailure(r), &f) {
				t.Fatal("no failure")
			}
			if f.code != c.code || !strings.Contains(f.text, c.text) || f.tracking != c.id || f.code != nil && f.fix == "" {
				t.Errorf("failure is %+v", f)
			}
		})
	}
}
