package dpsapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// backend is an SDK's service client: the api-version it sends, how it writes
// its token, and how it sends an etag back.
type backend struct {
	*device  // dials the service host
	t        testing.TB
	version  string
	policy   string
	key      string
	resource func(host string) string // sr of the token
	life     time.Duration
	ifMatch  func(etag string) string
}

// backend returns a client with the owner's policy.
func (k *kit) backend(t testing.TB, version string) *backend {
	t.Helper()
	c := k.owner(t)
	d := k.device(t, "")
	d.host = serviceHost
	return &backend{device: d, t: t, version: version, policy: c.policy, key: c.key, resource: url.QueryEscape, life: time.Hour,
		ifMatch: func(etag string) string { return etag }}
}

func (b *backend) in(t testing.TB) *backend {
	x, d := *b, *b.device
	d.t, x.t, x.device = t, t, &d
	return &x
}

// send returns the answer, or an error in the form that SDKs report.
func (b *backend) send(method, path, body string, header ...string) (*wire, error) {
	b.t.Helper()
	f := sas(b.t, b.key, b.resource(serviceHost), b.now().Add(b.life))
	header = append(header, "Authorization: SharedAccessSignature "+strings.Join(f[:], "&")+"&skn="+b.policy, "Accept: application/json")
	if body != "" {
		header = append(header, "Content-Type: application/json; charset=utf-8")
	}
	w, err := b.exchange(method, path+"?api-version="+b.version, body, header...)
	switch {
	case err != nil:
		return nil, err
	case w.head("x-ms-request-id") == "":
		return nil, errors.New("no x-ms-request-id")
	case w.code == 204 && len(w.body) == 0:
		return w, nil
	case w.code == 200 && w.body[0] == '[': // a query's
		return w, nil
	}
	_, e, err := decode(w.code, w.body)
	switch {
	case err != nil:
		return nil, err
	case e != nil:
		if w.head("x-ms-error-code") != fmt.Sprint(e.code) {
			return nil, fmt.Errorf("x-ms-error-code is %q: %s", w.head("x-ms-error-code"), w.body)
		}
		e.transient = e.status == 429 || e.status >= 500
		fmt.Sscan(w.head("Retry-After"), &e.wait)
		return w, e
	case w.code != 200:
		return nil, fmt.Errorf("%d %s", w.code, w.body)
	}
	return w, nil
}

// resource of the service API as an SDK keeps it.
type kept map[string]any

func (r kept) at(path string) any {
	var v any = map[string]any(r)
	for part := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[part]
	}
	return v
}

func (r kept) etag() string { s, _ := r["etag"].(string); return s }

func (r kept) text() string { b, _ := json.Marshal(r); return string(b) }

// call is send for what must succeed.
func (b *backend) call(method, path, body string, header ...string) kept {
	b.t.Helper()
	w, err := b.send(method, path, body, header...)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	var r kept
	if w.code == 200 {
		if err := json.Unmarshal(w.body, &r); err != nil {
			b.t.Fatal(err)
		}
	}
	return r
}

// refusal is send for what must be refused.
func (b *backend) refusal(code int, method, path, body string, header ...string) *denied {
	b.t.Helper()
	_, err := b.send(method, path, body, header...)
	var e *denied
	if !errors.As(err, &e) || e.code != code {
		b.t.Fatalf("%s %s: %v, want %d", method, path, err, code)
	}
	return e
}

// pages queries until there is no continuation; lookup finds a header as the SDK
// does, and the item type must be spelled as wanted.
func (b *backend) pages(path, query, kind string, size int, lookup func(w *wire, name string) string) (pages [][]kept) {
	b.t.Helper()
	token := ""
	for range 100 {
		header := []string{fmt.Sprint("x-ms-max-item-count: ", size)}
		if token != "" {
			header = append(header, "x-ms-continuation: "+token)
		}
		w, err := b.send("POST", path, `{"query":`+quoted(query)+`}`, header...)
		if err != nil {
			b.t.Fatal(err)
		}
		if got := lookup(w, "x-ms-item-type"); got != kind {
			b.t.Fatalf("x-ms-item-type is %q in %v, want %s", got, w.header, kind)
		}
		var page []kept
		if err := json.Unmarshal(w.body, &page); err != nil {
			b.t.Fatal(err)
		}
		pages = append(pages, page)
		if token = lookup(w, "x-ms-continuation"); token == "" {
			return pages
		}
	}
	b.t.Fatal("the pages do not end")
	return nil
}

// names are the ids on pages.
func names(pages [][]kept, member string) (all [][]any) {
	for _, page := range pages {
		var ids []any
		for _, r := range page {
			ids = append(ids, r[member])
		}
		all = append(all, ids)
	}
	return all
}

// bulk sends items; the result has isSuccessful and a list of errors.
func (b *backend) bulk(path, member, mode string, items ...string) (bool, []kept) {
	b.t.Helper()
	r := b.call("POST", path, fmt.Sprintf(`{"mode":%q,%q:[%s]}`, mode, member, strings.Join(items, ",")))
	ok, isBool := r["isSuccessful"].(bool)
	list, isList := r["errors"].([]any)
	if !isBool || !isList || ok != (len(list) == 0) {
		b.t.Fatalf("a bulk result of %v", r)
	}
	var all []kept
	for _, item := range list {
		m, _ := item.(map[string]any)
		if _, isNumber := m["errorCode"].(float64); !isNumber || m["errorStatus"] == "" {
			b.t.Errorf("a bulk error of %v", m)
		}
		all = append(all, m)
	}
	return ok, all
}
