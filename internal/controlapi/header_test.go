package controlapi_test

import (
	"strings"
	"testing"
)

// A header block above 16 KiB is refused before anything else is looked at
// (iot-v1 LP-7).
func TestHeaderLimit(t *testing.T) {
	s := openSite(t)
	s.row(t, "header block of 17 KiB", func(x *row) {
		d := x.d(1)
		token := bearer(d.token())
		x.do("GET", d.path("commands"), "", token, "X-Long: "+strings.Repeat("x", 17<<10)).reason(413, 4013, "header_too_large")
		x.do("GET", d.path("commands"), "", token, "X-Long: "+strings.Repeat("x", 15<<10)).want(200, 2000)
	})
}
