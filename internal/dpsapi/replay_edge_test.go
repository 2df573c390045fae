package dpsapi_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nave-hub/nave/internal/gate"
)

// edge is the identity service of IoT Edge: HTTP only, a poll every ten seconds
// up to two minutes, and an error needs a message (dps 1.4, 3.13, 7.8).
var edge = &sdk{name: "the IoT Edge identity service", transports: []string{"http"}, version: "2018-11-01", again: "initialAssignment",
	dial: func(d *device, _, payload string) (talk, error) {
		return &edgeHTTP{d: d, body: csBody(d, payload)}, nil
	}}

// Polls of IoT Edge.
const (
	edgePause = 10 // seconds
	edgePolls = 12
)

type edgeHTTP struct {
	d     *device
	body  string
	tpm   *softTPM // nil without
	polls int
}

func (c *edgeHTTP) call(method, path, body string) (*told, error) {
	header := []string{"Accept: application/json"}
	if c.d.key != "" {
		header = append(header, "Authorization: "+c.d.token())
	}
	if body != "" {
		header = append(header, "Content-Type: application/json")
	}
	w, err := c.d.exchange(method, c.d.path(path), body, header...)
	if err != nil {
		return nil, err
	}
	m, e, err := decode(w.code, w.body)
	if err != nil {
		return nil, err
	}
	switch {
	case w.code >= 400 && w.code < 500 && c.tpm != nil && c.d.key == "":
		key, _ := m["authenticationKey"].(string)
		if key == "" { // an unknown TPM ends here, too
			return nil, &denied{status: w.code, text: fmt.Sprintf("no challenge can be decoded from %s", w.body)}
		}
		c.d = c.d.withKey(c.tpm.activateText(c.d.t, key))
		return c.call(method, path, body)
	case w.code >= 400:
		if m["message"] == nil && m["Message"] == nil {
			return nil, fmt.Errorf("an error without message: %s", w.body)
		}
		if e == nil {
			return nil, fmt.Errorf("%d %s", w.code, w.body)
		}
		return nil, e
	case w.code != 200 && w.code != 202:
		return nil, fmt.Errorf("%d %s", w.code, w.body)
	}
	x, err := understand(w.body, m)
	if err != nil {
		return nil, err
	}
	if bundle, has := x.state["trustBundle"]; has && bundle != nil {
		if _, ok := bundle.(map[string]any); !ok {
			return nil, fmt.Errorf("trustBundle is %v", bundle)
		}
	}
	x.wait = edgePause
	return x, x.whole()
}

func (c *edgeHTTP) register() (*told, error) { return c.call("PUT", "/register", c.body) }

func (c *edgeHTTP) poll(operation string) (*told, error) {
	if c.polls++; c.polls > edgePolls {
		return nil, errors.New("the operation takes too long for IoT Edge")
	}
	return c.call("GET", "/operations/"+operation, "")
}

func TestReplayEdge(t *testing.T) {
	t.Parallel()
	edge.walk(t, "DPS-290")
}

func TestReplayEdgeErrors(t *testing.T) {
	t.Parallel()
	hook := newWebhook(t, `{}`)
	k := open(t, func(s *setup) { s.service.Web = hook.Client() })
	t.Run("DPS-290 as the IoT Edge identity service speaks: every refusal has a message", func(t *testing.T) {
		d := k.enrol(t, "edge-1")
		for _, code := range []int{400004, 401002, 403000, 404201, 409203, 429001, 500001, 503001} {
			clear := k.inject(t, gate.Rule{Op: "dps.register", Code: code})
			_, err := edge.provision(d, "http", "")
			clear()
			if e := edge.refused(t, err); e.code != code {
				t.Errorf("%v, want %d", err, code)
			}
		}
		d.scope = "InvalidIDScope"
		_, err := edge.provision(d, "http", "")
		edge.refused(t, err)
	})
	t.Run("DPS-290 as the IoT Edge identity service speaks: failure", func(t *testing.T) {
		x, err := edge.provision(k.enrol(t, "edge-2", hook.custom), "http", `{"site":"a"}`)
		if err != nil || x.status != "failed" || x.at("errorCode") != "400208" || x.at("errorMessage") == "" {
			t.Errorf("%+v, %v", x, err)
		}
	})
	t.Run("DPS-290 as the IoT Edge identity service speaks: TPM", func(t *testing.T) {
		v := newTPM(t, 0)
		s := *edge
		s.dial = func(d *device, _, _ string) (talk, error) { return &edgeHTTP{d: d, body: v.body(d.id), tpm: v}, nil }
		x := s.assigned(t, k.enrolTPM(t, "edge-tpm", v), "http", "initialAssignment")
		tpm, _ := x.state["tpm"].(map[string]any)
		blob, _ := tpm["authenticationKey"].(string)
		k.device(t, "edge-tpm").withKey(v.activateText(t, blob)).admitted(t, x)
		_, err := s.provision(k.device(t, "edge-tpm-none"), "http", "")
		s.refused(t, err)
	})
}
