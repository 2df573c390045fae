package hub

import (
	"strconv"
	"strings"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// errSilent is what Send passes to done when the sender must not get an answer.
type errSilent struct{}

func (errSilent) Error() string { return "no answer: a fault was asked for" }

// ErrSilent tells a surface to answer nothing at all to a message: neither
// success nor failure (device-protocols 6.1).
var ErrSilent error = errSilent{}

// played is a fault mode that a device has asked for itself.
type played struct {
	code        *fault.Code
	from, until time.Time
}

// request is a fault-injection message of a device (device-protocols 6).
type request struct {
	kind, reason    string
	delay, duration time.Duration
}

// The fault types that close something, in lower case.
var closers = map[string]Part{
	"killtcp": Socket, "shutdownmqtt": Whole, "shutdownamqp": Whole, "killamqpconnection": Whole, "killamqpsession": SessionPart,
	"killamqpcbslinkreq": TokenRequestLink, "killamqpcbslinkresp": TokenResponseLink, "killamqpd2clink": TelemetryLink,
	"killamqpc2dlink": CommandLink, "killamqptwinlinkreq": TwinRequestLink, "killamqptwinlinkresp": TwinResponseLink,
	"killamqpmethodreqlink": MethodRequestLink, "killamqpmethodresplink": MethodResponseLink,
}

// The fault types that refuse messages for a while, in lower case.
var refusers = map[string]*fault.Code{
	"invokethrottling": fault.ThrottlingException, "invokemaxmessagequota": fault.IotHubQuotaExceeded, "invokeautherror": fault.IotHubUnauthorizedAccess,
}

// readRequest finds the four properties, whose names are compared without case;
// unknown types are ordinary telemetry.
func readRequest(m *nave.Message) (r request, ok bool) {
	for i := range m.App {
		p := &m.App[i]
		if len(p.Name) < 15 || !strings.EqualFold(p.Name[:15], "AzIoTHub_FaultO") {
			continue
		}
		switch strings.ToLower(p.Name) {
		case "aziothub_faultoperationtype":
			r.kind = strings.ToLower(p.Value)
		case "aziothub_faultoperationclosereason":
			r.reason = p.Value
		case "aziothub_faultoperationdelayinsecs":
			r.delay = seconds(p.Value)
		case "aziothub_faultoperationdurationinsecs":
			r.duration = seconds(p.Value)
		}
	}
	if r.reason == "" {
		r.reason = r.kind
	}
	_, closes := closers[r.kind]
	_, refuses := refusers[r.kind]
	return r, closes || refuses
}

func seconds(text string) time.Duration {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n < 0 || n > 1e6 {
		return 0
	}
	return time.Duration(n * float64(time.Second))
}

// misbehave plays the fault that a message asks for, or refuses the message
// while one is on; false when the message is ordinary.
func (l *Line) misbehave(m *nave.Message, done func(error)) bool {
	h := l.hub
	r, ok := readRequest(m)
	if !ok {
		h.mu.Lock()
		p, on := h.played[l.id]
		now := h.now()
		if on && !now.Before(p.until) {
			delete(h.played, l.id)
		}
		on = on && !now.Before(p.from) && now.Before(p.until)
		h.mu.Unlock()
		if on {
			done(p.code.New("fault injection: refused until %s", nave.Format(p.until)))
		}
		return on
	}
	code := refusers[r.kind]
	part, mqtt := closers[r.kind], l.from.Endless
	if code != nil && !mqtt {
		h.mu.Lock()
		now := h.now()
		p := played{code, now.Add(r.delay), now.Add(r.delay + r.duration)}
		if l.peer == nil {
			p.from = now // device-protocols 6.1: the answer to an HTTPS request is the fault
		}
		h.played[l.id] = p
		h.mu.Unlock()
		if l.peer == nil {
			done(code.New("fault injection: %s", r.reason))
		} else {
			done(nil)
		}
		return true
	}
	if l.peer == nil {
		done(nil)
		return true
	}
	why := fault.ConnectionForcefullyClosedOnFaultInjection.New("fault injection: %s", r.reason)
	if code != nil {
		part = Whole
	}
	if mqtt {
		done(ErrSilent)
	} else {
		done(nil)
	}
	time.AfterFunc(r.delay, func() { l.play(part, why) }) // behind the answer, however short the delay
	return true
}

func (l *Line) play(what Part, why *fault.Error) {
	if what == Whole || what == Socket {
		l.shut(what, why)
		return
	}
	l.peer.Close(what, why)
}
