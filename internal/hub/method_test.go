package hub_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

func TestInvoke(t *testing.T) {
	k := open(t, func(o *hub.Options) { o.Limits.MethodInflight = 2 })
	i := k.put("d1", nave.IdentityPatch{})
	call := nave.Call{Method: "reboot", Payload: []byte(`{"a":1}`)}
	_, err := k.Invoke(ctx, i.ID, call)
	wants(t, err, fault.DeviceNotOnline)
	_, err = k.Invoke(ctx, nave.ID{Device: "none"}, call)
	wants(t, err, fault.DeviceNotFound)
	_, err = k.Invoke(ctx, nave.ID{Device: "d1", Module: "none"}, call)
	wants(t, err, fault.ModuleNotFound)
	_, err = k.Invoke(ctx, i.ID, nave.Call{Method: "a b"})
	wants(t, err, fault.ArgumentInvalid)
	_, err = k.Invoke(ctx, i.ID, nave.Call{Method: "a", Timeout: time.Second})
	wants(t, err, fault.ArgumentInvalid)
	_, err = k.Invoke(ctx, i.ID, nave.Call{Method: "a", Payload: make([]byte, 128<<10+1)})
	wants(t, err, fault.MessageTooLarge)

	l, d := k.connect(i, mqttArrival)
	_, err = k.Invoke(ctx, i.ID, call)
	wants(t, err, fault.DeviceNotOnline)
	l.WatchMethods(true)

	answer := func(r nave.Reply) {
		c := next[*nave.Call](t, d)
		l.Answer("0", nave.Reply{Status: 999})
		l.Answer(c.ID, r)
		l.Answer(c.ID, nave.Reply{Status: 998})
	}
	go answer(nave.Reply{Status: 200, Payload: []byte(`"ok"`)})
	if r, err := k.Invoke(ctx, i.ID, call); err != nil || r.Status != 200 || string(r.Payload) != `"ok"` {
		t.Errorf("reply %+v, %v", r, err)
	}
	go answer(nave.Reply{Status: 200, Payload: []byte(`not json`)})
	_, err = k.Invoke(ctx, i.ID, call)
	wants(t, err, fault.GenericBadGateway)

	go func() { next[*nave.Call](t, d); l.Close(fault.DeviceConnectionClosedRemotely.New("lost")) }()
	_, err = k.Invoke(ctx, i.ID, call)
	wants(t, err, fault.GatewayTimeout)
}

func TestInvokeWaitsForTheDevice(t *testing.T) {
	k := open(t)
	i := k.put("d1", nave.IdentityPatch{})
	done := make(chan error, 1)
	go func() {
		_, err := k.Invoke(ctx, i.ID, nave.Call{Method: "m", Connect: 5 * time.Minute})
		done <- err
	}()
	l, d := k.connect(i, mqttArrival)
	l.WatchMethods(true)
	l.Answer(next[*nave.Call](t, d).ID, nave.Reply{Status: 200})
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestInvokeInParallel(t *testing.T) {
	k := open(t, func(o *hub.Options) { o.Limits.MethodInflight = 20 })
	i := k.put("d1", nave.IdentityPatch{})
	l, d := k.connect(i, mqttArrival)
	l.WatchMethods(true)
	var work sync.WaitGroup
	for n := range 20 {
		work.Go(func() {
			payload := fmt.Sprint(n)
			r, err := k.Invoke(ctx, i.ID, nave.Call{Method: "echo", Payload: []byte(payload)})
			if err != nil || string(r.Payload) != payload {
				t.Errorf("call %d: %+v, %v", n, r, err)
			}
		})
	}
	var calls []*nave.Call
	for range 20 {
		calls = append(calls, next[*nave.Call](t, d))
	}
	_, err := k.Invoke(ctx, i.ID, nave.Call{Method: "echo"})
	wants(t, err, fault.DeviceMaximumInflightMethodExceeded)
	for n := len(calls) - 1; n >= 0; n-- {
		l.Answer(calls[n].ID, nave.Reply{Status: 200, Payload: calls[n].Payload})
	}
	work.Wait()
}

func TestInvokeCallerGone(t *testing.T) {
	reported := make(chan *fault.Error, 8)
	k := open(t, func(o *hub.Options) { o.Report = func(_ string, _ nave.ID, e *fault.Error) { reported <- e } })
	i := k.put("d1", nave.IdentityPatch{})
	l, d := k.connect(i, mqttArrival)
	l.WatchMethods(true)
	ctx, cancel := context.WithCancel(ctx)
	go func() { next[*nave.Call](t, d); cancel() }()
	_, err := k.Invoke(ctx, i.ID, nave.Call{Method: "m"})
	wants(t, err, fault.RequestCanceled)
	if e := <-reported; e.Code != fault.ClientClosedRequest {
		t.Errorf("reported %v", e)
	}
}
