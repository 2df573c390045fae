package carrier

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// serve answers as the API says.
func (x *call) serve() {
	if x.kind == "token" {
		x.token()
		return
	}
	if !x.authorized() {
		x.Header().Set("WWW-Authenticate", `Bearer realm="carrier", error="invalid_token"`)
		x.problem(401, "Unauthorized", "token_invalid", "The access token is missing or not valid.")
		return
	}
	rest, isProduct := strings.CutPrefix(x.path, "/product/")
	id, below, _ := strings.Cut(rest, "/")
	switch {
	case x.path == "/product" && x.r.Method == http.MethodGet:
		x.list()
	case x.path == "/product/find" && x.r.Method == http.MethodPost:
		x.find()
	case isProduct && below == "":
		x.product(id)
	case isProduct:
		x.below(id, below)
	case strings.HasPrefix(x.path, "/monitor/") && x.r.Method == http.MethodGet:
		x.monitor(strings.TrimPrefix(x.path, "/monitor/"))
	default:
		x.problem(404, "Not Found", "endpoint_not_found", "There is nothing at this address.")
	}
}

// token is the token endpoint: credentials in the body or by Basic.
func (x *call) token() {
	x.r.Body = http.MaxBytesReader(x, x.r.Body, 64<<10)
	if x.r.Method != http.MethodPost || x.r.ParseForm() != nil || x.r.PostForm.Get("grant_type") != "client_credentials" {
		x.json(400, map[string]string{"error": "invalid_request"})
		return
	}
	id, secret, basic := x.r.BasicAuth()
	if !basic {
		id, secret = x.r.PostForm.Get("client_id"), x.r.PostForm.Get("client_secret")
	}
	if id != x.c.o.ClientID || subtle.ConstantTimeCompare([]byte(secret), []byte(x.c.o.ClientSecret)) != 1 {
		x.json(401, map[string]string{"error": "invalid_client", "error_description": "Client authentication failed."})
		return
	}
	text := rand.Text()
	x.c.mu.Lock()
	x.c.tokens[text] = x.c.o.Now().Add(x.c.o.TokenLife)
	x.c.mu.Unlock()
	x.Header().Set("Cache-Control", "no-store")
	x.json(200, map[string]any{"access_token": text, "expires_in": int(x.c.o.TokenLife.Seconds()), "refresh_expires_in": 0, "token_type": "Bearer",
		"not-before-policy": 0, "scope": ""})
}

func (x *call) authorized() bool {
	text, ok := strings.CutPrefix(x.r.Header.Get("Authorization"), "Bearer ")
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	return ok && x.c.o.Now().Before(x.c.tokens[text])
}

// list is a page of the products, complete when fields ask for the parts.
func (x *call) list() {
	q := x.r.URL.Query()
	number := func(name string, usual int) int {
		if !q.Has(name) {
			return usual
		}
		n, err := strconv.Atoi(q.Get(name))
		if err != nil {
			return 0
		}
		return n
	}
	size, page := number("pageSize", 10), number("pageNumber", 1)
	if size < 1 || page < 1 || size > 1000 {
		x.problem(400, "Missing or malformed parameter", "validation_failed", "Paging is not valid.")
		return
	}
	size = min(size, x.c.o.MaxPage)
	complete := strings.Contains(q.Get("fields"), "productRelationship")
	x.c.mu.Lock()
	total := len(x.c.sims)
	begin := min((page-1)*size, total)
	some := slices.Clone(x.c.sims[begin:min(begin+size, total)])
	all := []any{}
	for _, s := range some {
		all = append(all, x.document(s, complete))
	}
	x.c.mu.Unlock()
	links := []map[string]string{{"type": "self", "url": x.r.URL.RequestURI()}}
	if page*size < total {
		q.Set("pageNumber", strconv.Itoa(page+1))
		links = append(links, map[string]string{"type": "next", "url": x.c.base + "/product?" + q.Encode()})
	}
	x.json(200, map[string]any{"entities": all, "links": links, "errors": []any{},
		"statistics": map[string]int{"currentPage": page, "pageSize": size, "count": len(all), "totalCount": total}})
}

// find looks up products by ICCID and id.
func (x *call) find() {
	var body struct {
		ID    []string `json:"idList"`
		ICCID []string `json:"iccidList"`
	}
	if json.NewDecoder(io.LimitReader(x.r.Body, 1<<20)).Decode(&body) != nil {
		x.problem(400, "Bad Request", "malformed_json", "The body is not JSON.")
		return
	}
	all, missing := []any{}, []any{}
	x.c.mu.Lock()
	for _, v := range append(body.ICCID, body.ID...) {
		if s := x.c.sim(strings.TrimPrefix(v, x.c.o.Reference+"-")); s != nil {
			all = append(all, x.document(s, true))
		} else {
			missing = append(missing, map[string]any{"title": "Not Found", "status": 404, "code": "product_not_found", "detail": "No product with iccid " + v + ".", "@type": "problem"})
		}
	}
	x.c.mu.Unlock()
	x.json(200, map[string]any{"entities": all, "links": []any{}, "errors": missing,
		"statistics": map[string]int{"currentPage": 1, "pageSize": len(all), "count": len(all), "totalCount": len(all)}})
}

// lookup returns the SIM of an id and the suffix of its part.
func (x *call) lookup(id string) (s *simCard, suffix string) {
	native, ok := strings.CutPrefix(id, x.c.o.Reference+"-")
	if !ok {
		return nil, ""
	}
	native, suffix, _ = strings.Cut(native, "-")
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	return x.c.sim(native), suffix
}

func (x *call) product(id string) {
	s, suffix := x.lookup(id)
	if s == nil {
		x.problem(404, "Not Found", "product_not_found", "No product with id %s.", id)
		return
	}
	if _, wrong := x.active("wrong-id"); wrong {
		s = &simCard{ICCID: ICCID(s.serial + 1_000_000), Status: s.Status, serial: s.serial + 1_000_000}
	}
	switch {
	case x.r.Method == http.MethodGet && suffix == "":
		x.show(func() any { return x.document(s, true) })
	case x.r.Method == http.MethodGet && suffix == "simCard":
		x.show(func() any { return x.card(s) })
	case x.r.Method == http.MethodGet:
		x.problem(404, "Not Found", "no_data", "Product %s has no %s.", id, suffix)
	case x.r.Method == http.MethodPatch && suffix == "simCard":
		x.patch(s)
	default:
		x.problem(400, "Invalid Action", "method_not_allowed", "This cannot be done here.")
	}
}

func (x *call) show(document func() any) {
	x.c.mu.Lock()
	d := document()
	x.c.mu.Unlock()
	x.json(200, d)
}

// below answers what belongs to a product: usage, data sessions, position,
// short messages, reset.
func (x *call) below(id, what string) {
	s, suffix := x.lookup(id)
	read := x.r.Method == http.MethodGet
	page := func(all ...any) map[string]any {
		return map[string]any{"entities": append([]any{}, all...), "links": []any{}, "errors": []any{},
			"statistics": map[string]int{"currentPage": 1, "pageSize": 1000, "count": len(all), "totalCount": len(all)}}
	}
	now := x.c.o.Now()
	switch {
	case s == nil || suffix != "":
		x.problem(404, "Not Found", "product_not_found", "No product with id %s.", id)
	case what == "usage" && read:
		from, to := x.r.URL.Query().Get("from"), x.r.URL.Query().Get("to")
		x.json(200, page(map[string]any{"period": map[string]string{"startDateTime": from, "endDateTime": to},
			"data": map[string]int{"uplinkBytes": 1000, "downlinkBytes": 234, "totalBytes": 1234}, "sms": map[string]int{"mo": 0, "mt": 0}}))
	case what == "dataSession" && read:
		x.json(200, page(map[string]any{"id": "ds-" + s.ICCID, "state": "OPEN", "startDateTime": stamp(now.Add(-3600e9)), "endDateTime": nil, "protocol": "MQTT",
			"ipAddress": "198.51.100.7", "apn": "carrier.test", "ratType": "LTE", "uplinkBytes": 1000, "downlinkBytes": 234}))
	case what == "location" && read:
		x.json(200, map[string]any{"timestamp": stamp(now), "source": "PLATFORM", "latitude": 50.73, "longitude": 7.1, "country": "DE"})
	case what == "sms" && x.r.Method == http.MethodPost:
		x.json(201, map[string]any{"id": rand.Text(), "status": "SUBMITTED", "payload": "", "encoding": "TEXT", "submittedAt": stamp(now), "expiresAt": stamp(now.Add(86400e9))})
	case what == "reset" && x.r.Method == http.MethodPost:
		x.json(200, map[string]any{})
	default:
		x.problem(404, "Not Found", "endpoint_not_found", "There is nothing at this address.")
	}
}
