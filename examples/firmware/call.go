package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// answer is what came of a call; status 0: nothing came.
type answer struct {
	status, code int
	retryAfter   time.Duration
	body         []byte
	fields       map[string]any
}

func (a *answer) number(name string) int {
	f, _ := a.fields[name].(float64)
	return int(f)
}

func (a *answer) text(name string) string {
	s, _ := a.fields[name].(string)
	return s
}

func (a *answer) list(name string) (all []map[string]any) {
	list, _ := a.fields[name].([]any)
	for _, v := range list {
		if m, ok := v.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 256 << 10

func (b *board) exchange(r *http.Request) (a answer) {
	resp, err := b.http.Do(r)
	if err != nil {
		b.log("no answer: %v", err)
		return a
	}
	defer resp.Body.Close()
	a.status = resp.StatusCode
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		a.retryAfter = time.Duration(n) * time.Second
	}
	a.body, _ = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if json.Unmarshal(a.body, &a.fields) == nil {
		a.code = a.number("code")
	}
	// A change of the catalogue shows in every answer (G-12).
	if c := resp.Header.Get("X-Catalog-Revision"); c != "" && (c != b.catalog || resp.Header.Get("X-Runtime-Revision") != b.runtime) {
		b.stale = true
	}
	return a
}

// call makes a call with a token; a token that is refused is replaced once
// (DH-11, 4001).
func (b *board) call(method, path, body string) (a answer) {
	for try := 0; try < 2; try++ {
		if b.token == "" || !b.now().Before(b.renewAt) {
			if a = b.renew(); b.token == "" {
				return a
			}
		}
		r, err := http.NewRequest(method, b.hub+"/iot/v1/devices/"+b.id+path, strings.NewReader(body))
		if err != nil {
			return answer{}
		}
		r.Header.Set("Authorization", "Bearer "+b.token)
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		if a = b.exchange(r); decide(a.status, a.code) != newToken {
			return a
		}
		b.token = ""
	}
	return a
}

// renew gets a token. The OAuth endpoints have no code: the status counts.
func (b *board) renew() answer {
	r, err := http.NewRequest("POST", b.hub+"/oauth/token", strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode()))
	if err != nil {
		return answer{}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(b.id, b.secret)
	a := b.exchange(r)
	if a.status == http.StatusOK && a.text("access_token") != "" {
		b.token = a.text("access_token")
		b.renewAt = b.now().Add(time.Duration(a.number("renew_after")) * time.Second)
		return a
	}
	// The old token is good until it is refused (AU-9, AU-10).
	if b.token != "" {
		b.renewAt = b.now().Add(time.Minute)
	}
	// The answer is to a request for a token. What else it may say, the item that waits was not refused.
	if a.status != http.StatusUnauthorized && a.status != http.StatusTooManyRequests {
		return answer{retryAfter: a.retryAfter}
	}
	return answer{status: a.status, retryAfter: a.retryAfter}
}

// bootstrap reads the catalogue: the first sensor and the first command are
// ours. Items that cannot be expressed are skipped (CA-5).
func (b *board) bootstrap() bool {
	a := b.call("GET", "/bootstrap", "")
	if action := decide(a.status, a.code); action != done {
		b.later(&a, action)
		return false
	}
	command := firstOf(a.list("commands"))
	if command != b.command {
		b.highest = 0 // each command counts from 1 (CM-5)
	}
	b.sensor, b.command = firstOf(a.list("sensors")), command
	b.backoff.read(&a)
	b.catalog, b.runtime, b.stale, b.pause = a.text("catalog_revision"), a.text("runtime_revision"), false, 0
	return true
}

func firstOf(all []map[string]any) string {
	for _, m := range all {
		if id, ok := m["id"].(string); ok && m["error"] == nil {
			return id
		}
	}
	return ""
}

// read takes over how pauses grow, as far as the bootstrap says (DH-11, 5003).
func (k *backoff) read(a *answer) {
	protocols, _ := a.fields["protocols"].(map[string]any)
	https, _ := protocols["https"].(map[string]any)
	said, _ := https["backoff"].(map[string]any)
	initial, _ := said["initial"].(float64)
	multiplier, _ := said["multiplier"].(float64)
	maximum, _ := said["maximum"].(float64)
	jitter, _ := said["jitter"].(float64)
	if initial < 1 || multiplier < 1 || maximum < initial || jitter < 0 || jitter > 1 {
		return
	}
	*k = backoff{time.Duration(initial * float64(time.Second)), time.Duration(maximum * float64(time.Second)), multiplier, jitter}
}
