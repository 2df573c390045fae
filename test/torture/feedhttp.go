package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
)

// feedScopes are those of every token.
const feedScopes = "iot:catalog:read iot:desired-state:read iot:feed-data:write iot:mqtt:connect iot:mqtt:ack:read iot:mqtt:feed-data:write"

// grant returns the device's token, which it asks for once: it outlives the
// hub's process. The status is that of a refusal.
func (f *feeder) grant(ctx context.Context, p *process) (token string, status int, text []byte, err error) {
	f.mu.Lock()
	token = f.token
	f.mu.Unlock()
	if token != "" {
		return token, 0, nil, nil
	}
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {feedScopes}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(f.id, f.secret)
	status, text, err = do(p.web, r)
	if err != nil || status != http.StatusOK {
		return "", status, text, err
	}
	var a struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(text, &a); err != nil || a.Token == "" {
		f.l.violate("%s: the token request was answered with %s", f.id, text)
	}
	f.mu.Lock()
	f.token = a.Token
	f.mu.Unlock()
	f.l.tokens.Add(1)
	return a.Token, 0, nil, nil
}

// call sends a request as the device. A status of 0 comes with an error.
func (f *feeder) call(ctx context.Context, p *process, method, path string, body any) (int, []byte, error) {
	token, status, text, err := f.grant(ctx, p)
	if err != nil || status != 0 {
		return status, text, err
	}
	var data []byte
	if body != nil {
		if data, err = json.Marshal(body); err != nil {
			return 0, nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "https://"+host+path, bytes.NewReader(data))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return do(p.web, r)
}

func (f *feeder) path(rest string) string { return "/iot/v1/devices/" + f.id + rest }

// step sends one request of the load; false when the hub is gone.
func (f *feeder) step(ctx context.Context, p *process) bool {
	amount := 1
	if f.way == batch {
		amount += rand.IntN(12)
	}
	taken := f.take(amount)
	defer f.land(taken...)
	if f.way == batch {
		return f.postBatch(ctx, p, taken)
	}
	return f.postItem(ctx, p, taken[0])
}

// feedAnswer is the answer to an item, alone or in a batch.
type feedAnswer struct {
	Code    int
	Index   int
	Status  string
	Feed    int64  `json:"feed_data_id"`
	Message string `json:"message_id"`
}

// postItem sends one item; false when there was no answer.
func (f *feeder) postItem(ctx context.Context, p *process, n int) bool {
	body := f.bodies([]int{n})[0]
	status, text, err := f.call(ctx, p, http.MethodPost, f.path("/feed-data"), body)
	if err != nil {
		return false
	}
	var a feedAnswer
	err = json.Unmarshal(text, &a)
	switch {
	case status >= 500 && f.l.excused():
	case err != nil || a.Code != 2000 || a.Message != body.Message || (status == http.StatusCreated) != (a.Status == "created") ||
		(status == http.StatusOK) != (a.Status == "idempotent"):
		f.l.violate("%s: %s was answered with %d %s", f.id, body.Message, status, text)
	default:
		f.accepted(n, a.Status, a.Feed)
	}
	return true
}

// postBatch sends items together; false when there was no answer.
func (f *feeder) postBatch(ctx context.Context, p *process, taken []int) bool {
	bodies := f.bodies(taken)
	status, text, err := f.call(ctx, p, http.MethodPost, f.path("/feed-data/batches"), map[string]any{"items": bodies})
	if err != nil {
		return false
	}
	if status >= 500 && f.l.excused() {
		return true
	}
	var a struct {
		Status  string
		Results []feedAnswer
	}
	if err := json.Unmarshal(text, &a); err != nil || status != http.StatusOK || a.Status != "processed" || len(a.Results) != len(taken) {
		f.l.violate("%s: a batch of %d items was answered with %d %s", f.id, len(taken), status, text)
		return true
	}
	for at, r := range a.Results {
		switch {
		case r.Index != at || r.Message != bodies[at].Message:
			f.l.violate("%s: entry %d of a batch, %s, was answered with that of %s", f.id, at, bodies[at].Message, r.Message)
		case r.Code == 5003 && f.l.excused():
		case r.Code != 2000:
			f.l.violate("%s: %s was refused in a batch with %d", f.id, bodies[at].Message, r.Code)
		default:
			f.accepted(taken[at], r.Status, r.Feed)
		}
	}
	return true
}
