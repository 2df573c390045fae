package sdk_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
)

// verbs are what drivers can ask of the hub's side.
var verbs = map[string]func(context.Context, *driver, []byte) (any, error){
	"device":      withArgs(device),
	"identity":    withArgs(identity),
	"events":      withArgs(events),
	"eventsUntil": withArgs(eventsUntil),
	"c2d":         withArgs(c2d),
	"feedback":    withArgs(feedback),
	"invoke":      withArgs(invoke),
	"publish":     withArgs(publish),
	"settle":      withArgs(settle),
	"purge":       withArgs(purge),
	"twin":        withArgs(twin),
	"patch":       withArgs(patch),
	"cut":         withArgs(func(_ context.Context, d *driver, _ struct{}) (any, error) { d.proxy.cut(); return nil, nil }),
	"hold":        withArgs(func(_ context.Context, d *driver, _ struct{}) (any, error) { d.proxy.keep(); return nil, nil }),
	"held":        withArgs(func(ctx context.Context, d *driver, _ struct{}) (any, error) { return nil, d.proxy.holds(ctx) }),
	"dps":         withArgs(callDPS),
	"selfSigned":  withArgs(selfSigned),
	"authority":   withArgs(authority),
	"leaf":        withArgs(leaf),
	"tpm":         withArgs(startTPM),
	"limit":       withArgs(limit),
	"pass":        withArgs(pass),
	"untrusted":   withArgs(func(_ context.Context, d *driver, _ struct{}) (any, error) { return d.rig.untrusted.Load(), nil }),
}

func withArgs[A any](f func(context.Context, *driver, A) (any, error)) func(context.Context, *driver, []byte) (any, error) {
	return func(ctx context.Context, d *driver, raw []byte) (any, error) {
		var args A
		if err := json.Unmarshal(raw, &args); err != nil {
			return nil, err
		}
		return f(ctx, d, args)
	}
}

type deviceArgs struct{ ID, Module, Auth, Status string }

// device registers a device, with a name of its own unless ID is set, or a
// module of one.
func device(ctx context.Context, d *driver, a deviceArgs) (any, error) {
	if a.ID == "" {
		a.ID = fmt.Sprintf("d%d", d.rig.devices.Add(1))
	}
	id := nave.ID{Device: a.ID, Module: a.Module}
	made := map[string]string{"id": a.ID, "module": a.Module}
	auth := &nave.Auth{Type: nave.AuthSAS}
	if a.Auth != "" {
		cert, key, err := d.certificate(nave.AuthType(a.Auth), id, auth)
		if err != nil {
			return nil, err
		}
		made["cert"], made["certKey"] = string(cert), string(key)
	}
	if id.IsModule() {
		if _, err := d.rig.Backend.Put(ctx, nave.ID{Device: a.ID}, &nave.IdentityPatch{}, ""); err != nil {
			return nil, err
		}
	}
	p := &nave.IdentityPatch{Auth: auth}
	if a.Status != "" {
		p.Status = &a.Status
	}
	i, err := d.rig.Backend.Put(ctx, id, p, "")
	if err != nil {
		return nil, err
	}
	made["key"], made["second"] = i.Auth.Primary, i.Auth.Secondary
	return made, nil
}

// certificate makes a client certificate and says in auth how to know it.
func (d *driver) certificate(kind nave.AuthType, id nave.ID, auth *nave.Auth) (cert, key []byte, err error) {
	auth.Type = kind
	if kind == nave.AuthCA {
		return d.rig.authority.Client(id.String(), time.Hour)
	}
	if cert, key, err = cred.SelfSigned(id.String(), time.Hour); err != nil {
		return nil, nil, err
	}
	block, _ := pem.Decode(cert)
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, err
	}
	_, auth.PrimaryThumbprint = cred.Thumbprints(parsed)
	return cert, key, nil
}

type onArgs struct{ ID string }

// identity returns how an identity proves itself.
func identity(ctx context.Context, d *driver, a onArgs) (any, error) {
	id, err := nave.ParseID(a.ID)
	if err != nil {
		return nil, err
	}
	i, err := d.rig.Backend.Device(ctx, id)
	if err != nil {
		return nil, err
	}
	return map[string]string{"key": i.Auth.Primary, "second": i.Auth.Secondary, "auth": string(i.Auth.Type),
		"thumbprint": i.Auth.PrimaryThumbprint}, nil
}

// event is a stored event as drivers see it.
type event struct {
	Body   []byte            `json:"body"`
	App    map[string]string `json:"app"`
	System systemProperties  `json:"system"`
	Source string            `json:"source"`
	Auth   string            `json:"auth"`
	Model  string            `json:"model"`
}

// systemProperties are those that drivers set or look at.
type systemProperties struct {
	MessageID       string   `json:"messageId,omitempty"`
	CorrelationID   string   `json:"correlationId,omitempty"`
	UserID          string   `json:"userId,omitempty"`
	ContentType     string   `json:"contentType,omitempty"`
	ContentEncoding string   `json:"contentEncoding,omitempty"`
	Created         string   `json:"created,omitempty"`
	Output          string   `json:"output,omitempty"`
	Ack             nave.Ack `json:"ack,omitempty"`
}

func shown(stored []*nave.Event) (all []event) {
	for _, e := range stored {
		s := &e.System
		v := event{Body: e.Body, App: map[string]string{}, Source: string(e.Source), Auth: e.Auth, Model: e.Model,
			System: systemProperties{s.MessageID, s.CorrelationID, s.UserID, s.ContentType, s.ContentEncoding, s.Created, s.Output, s.Ack}}
		if v.Body == nil {
			v.Body = []byte{}
		}
		for _, p := range e.App {
			v.App[p.Name] = p.Value
		}
		all = append(all, v)
	}
	return all
}

type eventsArgs struct {
	ID string
	N  int
}

// events waits for n events of a device or module and returns all it has, in
// the order of the log.
func events(ctx context.Context, d *driver, a eventsArgs) (any, error) {
	return d.rig.eventsOf(ctx, a.ID, func(e []*nave.Event) bool { return len(e) >= a.N })
}

type untilArgs struct {
	ID   string
	Body []byte
}

// eventsUntil waits for the event with the body and returns what stands before it
// in the log, and itself.
func eventsUntil(ctx context.Context, d *driver, a untilArgs) (any, error) {
	is := func(e event) bool { return bytes.Equal(e.Body, a.Body) }
	all, err := d.rig.eventsOf(ctx, a.ID, func(e []*nave.Event) bool { return slices.ContainsFunc(shown(e), is) })
	if err != nil {
		return nil, err
	}
	return all[:1+slices.IndexFunc(all, is)], nil
}

func (r *rig) eventsOf(ctx context.Context, name string, enough func([]*nave.Event) bool) (all []event, err error) {
	id, err := nave.ParseID(name)
	if err != nil {
		return nil, err
	}
	err = r.wait(ctx, func() bool {
		all = shown(r.events[id])
		return enough(r.events[id])
	})
	if err != nil {
		return nil, fmt.Errorf("%d events of %s: %w", len(all), name, err)
	}
	return all, nil
}

type c2dArgs struct {
	ID     string
	Body   []byte
	App    map[string]string
	System systemProperties
}

// c2d queues a message for a device.
func c2d(ctx context.Context, d *driver, a c2dArgs) (any, error) {
	id, err := nave.ParseID(a.ID)
	if err != nil {
		return nil, err
	}
	s := &a.System
	m := &nave.C2D{On: id, Message: nave.Message{Body: a.Body, System: nave.System{MessageID: s.MessageID, CorrelationID: s.CorrelationID,
		UserID: s.UserID, ContentType: s.ContentType, ContentEncoding: s.ContentEncoding, Ack: s.Ack,
		To: "/devices/" + id.Device + "/messages/devicebound"}}}
	for name, value := range a.App {
		m.SetApp(name, value, true)
	}
	err = d.rig.Backend.SendToDevice(ctx, m)
	return m.Seq, err
}

type feedbackArgs struct{ ID, Message string }

// feedback waits for the outcome of a message.
func feedback(ctx context.Context, d *driver, a feedbackArgs) (any, error) {
	var f nave.Feedback
	err := d.rig.wait(ctx, func() (ok bool) {
		f, ok = d.rig.feedback[[2]string{a.ID, a.Message}]
		return ok
	})
	if err != nil {
		return nil, fmt.Errorf("feedback on %s: %w", a.Message, err)
	}
	return map[string]string{"status": string(f.Status), "device": f.Device}, nil
}

type invokeArgs struct {
	ID, Method       string
	Payload          json.RawMessage
	Timeout, Connect int
}

// invoke calls a direct method.
func invoke(ctx context.Context, d *driver, a invokeArgs) (any, error) {
	id, err := nave.ParseID(a.ID)
	if err != nil {
		return nil, err
	}
	return d.rig.Backend.Invoke(ctx, id, nave.Call{Method: a.Method, Payload: a.Payload,
		Timeout: time.Duration(a.Timeout) * time.Second, Connect: time.Duration(a.Connect) * time.Second})
}

// twin returns a twin as services see it.
func twin(ctx context.Context, d *driver, a onArgs) (any, error) {
	id, err := nave.ParseID(a.ID)
	if err != nil {
		return nil, err
	}
	v, err := d.rig.Backend.Twin(ctx, id)
	if err != nil {
		return nil, err
	}
	return json.RawMessage(v.Append(nil)), nil
}

type patchArgs struct {
	ID    string
	Patch json.RawMessage
}

// patch writes to a twin as a service does.
func patch(ctx context.Context, d *driver, a patchArgs) (any, error) {
	id, err := nave.ParseID(a.ID)
	if err != nil {
		return nil, err
	}
	p, _, err := nave.ParsePatch(a.Patch, false)
	if err != nil {
		return nil, err
	}
	_, err = d.rig.Backend.PatchTwin(ctx, id, p, "", len(a.Patch))
	return nil, err
}
