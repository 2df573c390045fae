package report

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// TestRead takes what go test -json prints, among it a line that is very long, a
// test whose end is not told, and a package that fails without a failed test.
func TestRead(t *testing.T) {
	text := `{"Action":"output","Package":"a","Test":"TestLong","Output":"` + strings.Repeat("x", 17<<20) + `"}
{"Action":"pass","Package":"a","Test":"TestLong"}
no JSON
{"Action":"run","Package":"a","Test":"TestLost"}
{"Action":"pass","Package":"a"}
{"Action":"run","Package":"b","Test":"TestHangs"}
{"Action":"output","Package":"b","Test":"TestHangs","Output":"it waits\n"}
{"Action":"fail","Package":"b"}
{"Action":"pass","Package":"c","Test":"TestGood"}
{"Action":"output","Package":"c","Output":"goroutines are left\n"}
{"Action":"fail","Package":"c"}`
	r := newResult()
	if err := r.read(io.Discard, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	r.settle()
	var out bytes.Buffer
	r.Print(&out)
	if want := "FAIL c\ngoroutines are left\nFAIL b TestHangs\nit waits\n3 passed, 1 failed, 0 skipped\n"; out.String() != want || r.OK() {
		t.Errorf("%t, %s\nwant %s", r.OK(), &out, want)
	}
}
