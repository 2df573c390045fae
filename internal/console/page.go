package console

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

// page is the status page: HTML without scripts and without anything from
// elsewhere.
type page struct {
	text   *template.Template
	policy string // Content-Security-Policy
}

// pageData is what the template shows.
type pageData struct {
	*status
	Style  template.CSS
	Now    time.Time
	Recent []Occurrence
}

// pageRecent is how many failures the page shows.
const pageRecent = 25

func newPage() *page {
	sum := sha256.Sum256([]byte(pageStyle))
	return &page{
		text:   template.Must(template.New("page").Funcs(template.FuncMap{"clock": clock}).Parse(pageText)),
		policy: "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'",
	}
}

func clock(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }

// pageCookie carries the right to see the page.
const pageCookie = "nave_console"

// admitPage lets callers with the token or the cookie in. A token in the query
// is exchanged for the cookie, so that it does not stay in the address bar.
func (s *server) admitPage(w http.ResponseWriter, r *http.Request) bool {
	if token := r.URL.Query().Get("token"); s.isToken(token) {
		http.SetCookie(w, &http.Cookie{Name: pageCookie, Value: s.cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return false
	}
	if c, err := r.Cookie(pageCookie); err == nil && same(c.Value, s.cookie) || s.bearer(r) {
		return true
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusUnauthorized)
	w.Write([]byte("This page needs the console's token once: open /?token=TOKEN with the token of console.json in the node's data folder;\n'nave status' prints the address.\n"))
	return false
}

func (s *server) showPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", s.page.policy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	data := pageData{status: s.status(r.Context()), Style: template.CSS(pageStyle), Now: time.Now(), Recent: s.o.Recent.List(Filter{Top: pageRecent})}
	var b strings.Builder
	if err := s.page.text.Execute(&b, data); err != nil {
		s.fail(w, r, err)
		return
	}
	w.Write([]byte(b.String()))
}
