package load

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

// Ways to speak to a provisioning service.
const (
	OverHTTPS = "https"
	OverMQTT  = "mqtt"
)

// provisionVersion is the version of the device API that is asked for (dps 1.4).
const provisionVersion = "2021-06-01"

// Provisioner registers devices at a provisioning service (dps 2). Exchanges share a number of turns: over HTTPS each is a connection that
// is kept, over MQTT the right to be busy, since each device has a connection of its own there.
type Provisioner struct {
	// Set by NewProvisioner, then read only:
	scope, over string
	target      Target
	turns       chan *turn
}

// turn is the right to exchange something.
type turn struct{ http httpPost }

// ProvisionOptions say how a provisioning service is reached.
type ProvisionOptions struct {
	Scope    string // id scope
	Over     string // OverHTTPS or OverMQTT
	Target   Target // its listener for that; the server name is the service's host, and a client certificate proves the device
	Parallel int    // exchanges at the same time; default 50
}

// NewProvisioner dials nothing yet; Close gives connections back.
func NewProvisioner(o ProvisionOptions) (*Provisioner, error) {
	if o.Over != OverHTTPS && o.Over != OverMQTT {
		return nil, fmt.Errorf("devices cannot be provisioned over %q: https and mqtt are possible", o.Over)
	}
	if o.Target.TLS == nil {
		return nil, errors.New("a provisioning service speaks TLS only")
	}
	p := &Provisioner{scope: o.Scope, over: o.Over, target: o.Target, turns: make(chan *turn, cmp.Or(o.Parallel, 50))}
	for range cap(p.turns) {
		p.turns <- &turn{}
	}
	return p, nil
}

// Close ends the connections, once nothing is under way any more.
func (p *Provisioner) Close() {
	for range cap(p.turns) {
		t := <-p.turns
		t.http.close()
		p.turns <- t
	}
}

// Enrolled is a device that registers.
type Enrolled struct {
	ID      string // registration id
	Key     string // in base64; "": the target's client certificate
	Payload json.RawMessage
}

// Assignment is what a provisioning service told a device at the end (dps 2.1.3).
type Assignment struct {
	Hub       string          `json:"assignedHub"`
	Device    string          `json:"deviceId"`
	Status    string          `json:"status"`
	Substatus string          `json:"substatus"`
	Code      int             `json:"errorCode"`
	Message   string          `json:"errorMessage"`
	Raw       json.RawMessage `json:"-"` // the whole registration state
	Polls     int             `json:"-"` // questions until the end
}

// ProvisionError is a refusal by a provisioning service (dps 3.13).
type ProvisionError struct {
	Status   int
	Code     int
	Message  string
	Tracking string
	After    time.Duration
}

// Error gives status, code and text.
func (e *ProvisionError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the provisioning service refused: %d %d %s", e.Status, e.Code, e.Message))
}

// passes says whether the same request may succeed later (dps 5.7).
func (e *ProvisionError) passes() bool { return e.Status == 429 || e.Status >= 500 }

// provisionAnswer is an answer to register or status.
type provisionAnswer struct {
	status    int
	after     time.Duration
	Operation string          `json:"operationId"`
	Status    string          `json:"status"`
	State     json.RawMessage `json:"registrationState"`
}

// exchange is how a device talks over one protocol. Its methods are called with a turn, one at a time.
type exchange interface {
	register(ctx context.Context, t *turn) (*provisionAnswer, error)
	poll(ctx context.Context, t *turn, operation string) (*provisionAnswer, error)
	end()
}

// Pace says when a device asks for its operation.
type Pace struct {
	First      time.Duration // before the first question: 0 as long as the service asks for, below 0 not at all; later ones obey the service
	Registered func()        // the service has taken the registration; may be nil
}

// Register registers a device and asks until the service is done; refusals that pass are obeyed for two minutes. An outcome other than
// assigned is an Assignment, too; a refusal is a *ProvisionError.
func (p *Provisioner) Register(ctx context.Context, d Enrolled, pace Pace) (*Assignment, error) {
	token := ""
	if d.Key != "" {
		var err error
		if token, err = cred.Sign(p.scope+"/registrations/"+d.ID, d.Key, "registration", time.Now().Add(tokenLife)); err != nil {
			return nil, err
		}
	}
	body, err := json.Marshal(struct {
		ID      string          `json:"registrationId"`
		Payload json.RawMessage `json:"payload,omitempty"`
	}{d.ID, d.Payload})
	if err != nil {
		return nil, err
	}
	var x exchange
	if p.over == OverMQTT {
		x = &mqttExchange{p: p, id: d.ID, token: token, body: body}
	} else {
		x = &httpExchange{p: p, id: d.ID, token: token, body: body}
	}
	defer x.end()
	return p.converse(ctx, x, pace)
}

func (p *Provisioner) converse(ctx context.Context, x exchange, pace Pace) (*Assignment, error) {
	a, err := p.patiently(ctx, x.register)
	if err != nil {
		return nil, err
	}
	if pace.Registered != nil {
		pace.Registered()
	}
	operation := a.Operation
	for polls := 0; ; {
		switch a.Status {
		case "assigning", "unassigned":
		default:
			return a.assignment(polls)
		}
		pause := max(a.after, time.Second)
		if polls == 0 && pace.First != 0 {
			pause = pace.First
		}
		if pause > 0 && !wait(ctx, pause) {
			return nil, context.Cause(ctx)
		}
		polls++
		a, err = p.patiently(ctx, func(ctx context.Context, t *turn) (*provisionAnswer, error) { return x.poll(ctx, t, operation) })
		if err != nil {
			return nil, err
		}
	}
}

func (a *provisionAnswer) assignment(polls int) (*Assignment, error) {
	out := &Assignment{Status: a.Status, Raw: a.State, Polls: polls}
	if len(a.State) == 0 {
		return nil, fmt.Errorf("the provisioning service answered %s without a registration state", a.Status)
	}
	if err := json.Unmarshal(a.State, out); err != nil {
		return nil, fmt.Errorf("the registration state can't be read: %w", err)
	}
	return out, nil
}

// patiently asks once it has a turn, again after refusals that pass.
func (p *Provisioner) patiently(ctx context.Context, ask func(context.Context, *turn) (*provisionAnswer, error)) (*provisionAnswer, error) {
	until := time.Now().Add(retryTime)
	for {
		a, err := p.inTurn(ctx, ask)
		var refused *ProvisionError
		if !errors.As(err, &refused) || !refused.passes() || time.Now().After(until) {
			return a, err
		}
		if !wait(ctx, max(refused.After, time.Second)) {
			return nil, context.Cause(ctx)
		}
	}
}

func (p *Provisioner) inTurn(ctx context.Context, ask func(context.Context, *turn) (*provisionAnswer, error)) (*provisionAnswer, error) {
	select {
	case t := <-p.turns:
		defer func() { p.turns <- t }()
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		return ask(ctx, t)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// readProvision reads an answer of either protocol.
func readProvision(status int, after string, body []byte) (*provisionAnswer, error) {
	a := &provisionAnswer{status: status}
	if n, err := strconv.Atoi(after); err == nil {
		a.after = time.Duration(n) * time.Second
	}
	if status != http.StatusOK && status != http.StatusAccepted {
		e := &ProvisionError{Status: status, After: a.after}
		var text struct {
			Code     int    `json:"errorCode"`
			Message  string `json:"message"`
			Tracking string `json:"trackingId"`
		}
		if json.Unmarshal(body, &text) != nil || text.Message == "" {
			text.Message = string(body[:min(len(body), 300)])
		}
		e.Code, e.Message, e.Tracking = text.Code, text.Message, text.Tracking
		return nil, e
	}
	if err := json.Unmarshal(body, a); err != nil {
		return nil, fmt.Errorf("the answer of the provisioning service can't be read: %w", err)
	}
	return a, nil
}
