package carrier

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
)

// control is the way to change a running carrier:
//
//	GET    /control                  kinds, profiles in force, SIMs
//	PUT    /control/profile          ["rate-limit=7","slow"], or text with a profile a line
//	DELETE /control/profile          healthy again
//	GET    /control/request          requests seen, with ?prefix=GET+/product those
//	DELETE /control/request          forget them
//	PUT    /control/sim/{iccid}      {"status":"SUSPENDED"}; one that is not there is added
//	DELETE /control/sim/{iccid}
func (c *Carrier) control(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		reply(w, http.StatusRequestEntityTooLarge, map[string]string{"error": "the body is too large"})
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/control")
	iccid, isSIM := strings.CutPrefix(path, "/sim/")
	switch op := r.Method + " " + path; {
	case op == "GET ", op == "GET /":
		c.mu.Lock()
		all := map[string]string{}
		for _, s := range c.sims[:min(len(c.sims), 1000)] {
			all[s.ICCID] = s.Status
		}
		c.mu.Unlock()
		reply(w, 200, map[string]any{"kinds": Kinds, "profiles": c.Profiles(), "sims": all})
	case op == "GET /profile":
		reply(w, 200, c.Profiles())
	case op == "PUT /profile", op == "POST /profile":
		if err := c.Choose(profileTexts(body)...); err != nil {
			reply(w, 400, map[string]string{"error": err.Error()})
			return
		}
		reply(w, 200, c.Profiles())
	case op == "DELETE /profile":
		c.Set()
		reply(w, 200, c.Profiles())
	case op == "GET /request":
		all := c.Requests(r.URL.Query().Get("prefix"))
		reply(w, 200, map[string]any{"count": len(all), "peak": c.Peak(), "requests": append([]Request{}, all...)})
	case op == "DELETE /request":
		c.Forget()
		reply(w, 200, map[string]any{})
	case isSIM && nativeForm.MatchString(iccid) && (r.Method == http.MethodPut || r.Method == http.MethodDelete):
		var s struct{ Status string }
		if r.Method == http.MethodPut && (json.Unmarshal(body, &s) != nil || !isWord(s.Status)) {
			reply(w, 400, map[string]string{"error": "the body is an object with a status"})
			return
		}
		c.Put(iccid, s.Status)
		reply(w, 200, map[string]string{"iccid": iccid, "status": s.Status})
	default:
		reply(w, 404, map[string]string{"error": "there is nothing at this address"})
	}
}

var nativeForm = regexp.MustCompile(`^[A-Za-z0-9._]{1,64}$`)

// profileTexts reads a JSON list, or a profile a line.
func profileTexts(body []byte) (all []string) {
	if json.Unmarshal(body, &all) == nil {
		return all
	}
	for line := range strings.Lines(string(body)) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
