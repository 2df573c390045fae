package dpsapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// DeviceOptions say what the device bindings MQTT and AMQP serve; Services is
// required.
type DeviceOptions struct {
	Services []*dps.Service // the instances of this process, chosen by the id scope of a call
	Log      *slog.Logger   // slog.Default when nil

	// Pause is what an answer waits at least: Java's SDK starts to wait for it
	// only after it has sent the request, and misses one that was there before.
	Pause time.Duration

	// Limits of a connection (dps 2.4).
	Idle   time.Duration // until the first request that is not refused; default 60 s
	Linger time.Duration // after the last answer that was news; default 10 min
	Hold   time.Duration // for a client to subscribe, or to give credit, to what is answered; default 30 s
}

func (o DeviceOptions) withDefaults() DeviceOptions {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Idle = cmp.Or(o.Idle, time.Minute)
	o.Linger = cmp.Or(o.Linger, 10*time.Minute)
	o.Hold = cmp.Or(o.Hold, 30*time.Second)
	return o
}

// Limits of the device API.
const (
	maxBody   = 96 << 10         // bytes of a register body (dps 2.4)
	callLimit = 30 * time.Second // for one operation; SDKs give up after it
)

// Retry hints, in seconds (dps 2.4): a smaller or larger one is not portable,
// as SDKs clamp them.
const (
	minRetry     = 2
	maxRetry     = 300
	defaultRetry = 3
)

// retrySeconds rounds a hint up to whole seconds within the portable range.
func retrySeconds(d time.Duration) int {
	if d <= 0 {
		return defaultRetry
	}
	d = min(d, maxRetry*time.Second)
	return max(int((d+time.Second-1)/time.Second), minRetry)
}

// find returns the instance with the id scope, GenericNotFound when there is
// none (dps 9.1).
func find(all []*dps.Service, scope string) (*dps.Service, error) {
	for _, s := range all {
		if s.Serves(scope) {
			return s, nil
		}
	}
	return nil, fault.DPSGenericNotFound.New("the ID scope %q is not served here", brief(scope))
}

// request is one operation of a device, whatever carried it.
type request struct {
	verb      verb
	operation string // of status
	body      []byte // of register and lookup
}

type verb uint8

const (
	register verb = iota
	status
	lookup
)

var verbNames = [...]string{"dps.register", "dps.status", "dps.lookup"}

func (v verb) String() string { return verbNames[v] }

// reply is what a device gets for a request that was not refused.
type reply struct {
	body  []byte
	retry int    // seconds until the next poll while the operation runs, otherwise 0
	id    string // of the operation
}

// running says whether the device has to ask again.
func (r *reply) running() bool { return r.retry > 0 }

// run performs a request. It outlives the connection, so that a device that
// sends again finds what it began.
func run(ctx context.Context, s *dps.Service, c *dps.Claim, r *request) (*reply, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callLimit)
	defer cancel()
	var op *dps.Operation
	var err error
	switch r.verb {
	case register:
		op, err = s.Register(ctx, c, r.body)
	case status:
		op, err = s.Status(ctx, c, r.operation)
	default:
		state, err := s.Lookup(ctx, c, r.body)
		if err != nil {
			return nil, err
		}
		return encode(state)
	}
	if err != nil {
		return nil, err
	}
	if r.verb == register && op.Status != dps.Assigning {
		// Register never tells the outcome: SDKs take anything but 202 for a
		// failure (dps 0.1).
		op = &dps.Operation{ID: op.ID, Status: dps.Assigning, Retry: op.Retry}
	}
	out, err := encode(op)
	if err == nil && op.Status == dps.Assigning {
		out.id, out.retry = op.ID, retrySeconds(op.Retry)
	}
	return out, err
}

func encode(v any) (*reply, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fault.DPSServerError.Wrap(err, "the answer could not be encoded")
	}
	return &reply{body: b}, nil
}

// prefer keeps one proof: a token decides where there is a certificate, too
// (dps 2.3).
func prefer(c *dps.Claim) {
	if c.SAS != "" {
		c.Certs = nil
	}
}

// refusal returns an error as one of this family with what all protocols send:
// a tracking id, and a pause where a retry may help (dps 3.13, 5.7).
func refusal(err error) *fault.Error {
	if c := (*dps.Challenge)(nil); errors.As(err, &c) {
		err = fault.DPSIotHubUnauthorizedAccess.New("Unauthorized: the enrolment wants a TPM, which this protocol cannot ask")
	}
	e := *fault.From(err)
	if e.Code.Family != fault.DPS {
		translate(&e)
	}
	e.Tracking = newGUID()
	if retryable(e.Code) {
		e.After = time.Duration(retrySeconds(e.After)) * time.Second
	}
	return &e
}

// retryable says whether an answer carries a hint when to come back (dps 5.7).
func retryable(c *fault.Code) bool { return c.HTTP == 429 || c.HTTP >= 500 }

// translate finds the code of this family for one of another: gate and store
// speak of the hub.
func translate(e *fault.Error) {
	switch code := fault.Lookup(e.Code.ID, fault.DPS); {
	case code != nil && e.Code.HTTP < 500:
		e.Code = code
	case e.Code.HTTP == 429:
		e.Code = fault.DPSThrottlingException
	case e.Code.HTTP == 503:
		e.Code = fault.DPSServiceUnavailable
	case e.Code.HTTP == 504 || errors.Is(e, context.DeadlineExceeded):
		e.Code = fault.DPSGenericGatewayTimeout
	default:
		e.Code, e.Text = fault.DPSServerError, "an unexpected error occurred, its cause is in the log under the tracking id"
	}
}

// newGUID returns a random GUID, the form of tracking ids here (dps 1.3).
func newGUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// refusalBody returns the JSON of an error (dps 3.13); values of info are
// texts.
func refusalBody(e *fault.Error) []byte {
	var info map[string]string
	for name, v := range e.Detail {
		if info == nil {
			info = map[string]string{}
		}
		info[name] = fmt.Sprint(v)
	}
	b, err := json.Marshal(struct {
		Code     int               `json:"errorCode"`
		Tracking string            `json:"trackingId"`
		Message  string            `json:"message"`
		Info     map[string]string `json:"info,omitempty"`
		At       string            `json:"timestampUtc"`
	}{e.Code.ID, e.Tracking, e.Text, info, e.At.UTC().Format(timeForm)})
	if err != nil { // texts and a number always encode
		return []byte(`{"errorCode":500001,"trackingId":"","message":"the error could not be encoded","timestampUtc":"1970-01-01T00:00:00Z"}`)
	}
	return b
}

// timeForm is how times are written (dps 1.3).
const timeForm = "2006-01-02T15:04:05.0000000Z"

// challenge is the answer to a TPM that has to activate a key first (dps
// 2.9.3): neither status nor operationId may be in it.
type challenge struct {
	Message string `json:"message"`
	Key     string `json:"authenticationKey"`
	Name    string `json:"keyName"`
}

func newChallenge(c *dps.Challenge) challenge {
	return challenge{"Unauthorized: activate the key in the TPM and sign a token with it", c.Key, dps.ChallengeKeyName}
}

// brief shortens what a client sent for a text.
func brief(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}

// note logs a refusal and reports it to the instance, if there is one.
func (o *DeviceOptions) note(s *dps.Service, op, registration, remote string, e *fault.Error) {
	level := slog.LevelDebug
	if e.Code.HTTP >= 500 {
		level = slog.LevelWarn
	}
	o.Log.Log(context.Background(), level, "refused", "device", brief(registration), "op", op, "peer", remote, "fault", e)
	if s != nil {
		s.Report(op, registration, e)
	}
}
