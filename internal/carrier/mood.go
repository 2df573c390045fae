package carrier

import (
	"bufio"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// interfere has the profiles in force act on a request; true when one of them
// has answered, or refused to.
func (x *call) interfere() bool {
	for _, p := range x.c.Profiles() {
		if !p.concerns(x.kind, x.page) && !(p.Name == "expired-credentials" && x.kind == "token") {
			continue
		}
		x.by = append(x.by, p.String())
		if x.act(p) {
			return true
		}
		if !x.altered(p.Name) {
			x.by = x.by[:len(x.by)-1]
		}
	}
	return false
}

// altered says whether a profile that lets the request pass has a hand in it.
func (x *call) altered(name string) bool {
	return slices.Contains([]string{"slow", "async", "async-fail", "lost-answer", "wrong-id", "status"}, name)
}

func (x *call) act(p Profile) bool {
	switch p.Name {
	case "slow":
		return !x.pause(p.duration())
	case "timeout":
		x.hang()
	case "expired-credentials":
		return x.expired(p)
	case "flaky":
		return x.flaky(p)
	case "outage":
		x.problem(500, "Internal Server Error", "internal_error", "Something went wrong.")
	case "error500":
		x.json(500, map[string]string{"message": p.Value})
	case "leak":
		x.json(500, map[string]string{"message": "Cannot process the request with " + x.r.Header.Get("Authorization")})
	case "rate-limit":
		if p.Value != "none" {
			x.Header().Set("Retry-After", p.Value)
		}
		x.problem(429, "Too Many Requests", "rate_limited", "Too many requests.")
	case "unavailable":
		x.problem(503, "Service Unavailable", "unavailable", "Down for maintenance.")
	case "empty-200":
		x.WriteHeader(200)
	case "html-200":
		x.Header().Set("Content-Type", "text/html")
		x.WriteHeader(200)
		io.WriteString(x, "<!DOCTYPE html><html><body><h1>Welcome</h1></body></html>")
	case "forbidden":
		x.problem(403, "Forbidden", "permission_missing", "The account may not do this.")
	case "gone":
		x.problem(404, "Not Found", "product_not_found", "No such product.")
	case "conflict":
		x.problem(409, "Conflict", "conflict", "The product is in another state.")
	case "unsupported":
		x.problem(501, "Not Implemented", "unsupported", "This platform does not do that.")
	case "redirect":
		x.Header().Set("Location", "/elsewhere")
		x.WriteHeader(302)
	case "huge":
		x.huge()
	case "hang-up":
		io.Copy(io.Discard, x.r.Body)
		panic(http.ErrAbortHandler)
	default:
		return false // it alters the answer
	}
	return true
}

// pause answers false when the client went away.
func (x *call) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-x.r.Context().Done():
	case <-x.c.gone:
	}
	return false
}

// hang answers never.
func (x *call) hang() {
	io.Copy(io.Discard, x.r.Body) // so that the server notices when the client goes
	select {
	case <-x.r.Context().Done():
	case <-x.c.gone:
	}
}

func (x *call) expired(p Profile) bool {
	switch {
	case x.kind == "token" && p.Value != "401":
		x.json(401, map[string]string{"error": "invalid_client", "error_description": "Client authentication failed."})
	case x.kind == "token":
		return false
	case p.Value == "401":
		x.Header().Set("WWW-Authenticate", `Bearer realm="carrier", error="invalid_token"`)
		x.problem(401, "Unauthorized", "token_invalid", "The access token is not valid.")
	default:
		x.json(p.number(), map[string]string{"message": "Something went wrong."})
	}
	return true
}

// flaky answers 503 so many times in a row to the same request.
func (x *call) flaky(p Profile) bool {
	key := x.r.Method + " " + x.r.URL.Path
	x.c.mu.Lock()
	x.c.turns[key]++
	bad := x.c.turns[key] <= p.number()
	if !bad {
		delete(x.c.turns, key)
	}
	x.c.mu.Unlock()
	if bad {
		x.problem(503, "Service Unavailable", "unavailable", "Try again.")
	}
	return bad
}

// huge answers until the client has had enough.
func (x *call) huge() {
	x.Header().Set("Content-Type", "application/json")
	w := bufio.NewWriterSize(x, 64<<10)
	w.WriteString(`{"id":"`)
	for line := strings.Repeat("x", 64<<10); ; {
		if _, err := w.WriteString(line); err != nil || x.r.Context().Err() != nil {
			return
		}
	}
}
