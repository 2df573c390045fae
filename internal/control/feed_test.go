package control_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/fault"
)

func newPlant(t testing.TB) *plant {
	t.Helper()
	p, err := openPlant(context.Background(), t.TempDir(), true, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.close(t) })
	return p
}

func (p *plant) device(t testing.TB) *control.Device {
	t.Helper()
	d, _, err := p.control.Create(context.Background(), control.Draft{
		Commands: []control.SourceDraft{{ControlSource: nave.ControlSource{Kind: "relay", Lifetime: -1}}},
		Sensors:  []control.SourceDraft{{ControlSource: nave.ControlSource{Kind: "meter"}}}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestConcurrentKeys has many callers send the same and different payloads
// under few keys: each key is stored once, and everybody who sent that payload
// gets the same id.
func TestConcurrentKeys(t *testing.T) {
	p := newPlant(t)
	d := p.device(t)
	at := time.Now().UTC()
	var mu sync.Mutex
	ids := map[string]map[int64]bool{}
	won := map[string]string{}
	var work sync.WaitGroup
	for caller := range 16 {
		work.Go(func() {
			for n := range 40 {
				i := &control.Item{Message: fmt.Sprint("m-", n%10), Source: d.Sources[1].ID, Value: fmt.Sprint(caller % 2), Observed: at}
				r, err := d.Feed(context.Background(), i, control.HTTPS)
				if err != nil {
					if !errors.Is(err, fault.ControlConflict) {
						t.Error(err)
					}
					continue
				}
				mu.Lock()
				if ids[i.Message] == nil {
					ids[i.Message] = map[int64]bool{}
				}
				ids[i.Message][r.FeedID] = true
				if w := won[i.Message]; w != "" && w != i.Value {
					t.Errorf("%s: both payloads were accepted", i.Message)
				}
				won[i.Message] = i.Value
				mu.Unlock()
			}
		})
	}
	work.Wait()
	for message, got := range ids {
		if len(got) != 1 {
			t.Errorf("%s has the ids %v", message, got)
		}
	}
	all, err := p.control.History(context.Background(), d.ID, d.Sources[1].ID, 0, 100)
	if err != nil || len(all) != 10 {
		t.Errorf("%d items, %v", len(all), err)
	}
}

// TestAwait follows a desired state to its end.
func TestAwait(t *testing.T) {
	p := newPlant(t)
	d := p.device(t)
	ctx := context.Background()
	s, err := p.control.Set(ctx, d.ID, d.Sources[0].ID, "1", "me")
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan *nave.DesiredState, 1)
	go func() {
		got, err := p.control.Await(ctx, s.ID)
		if err != nil {
			t.Error(err)
		}
		end <- got
	}()
	item := &control.Item{Message: "k", Source: s.Command, Command: true, Value: "1", Observed: time.Now().UTC(), Desired: s.ID, Report: nave.DesiredRejected}
	if _, err := d.Feed(ctx, item, control.MQTT); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-end:
		if got.Status != nave.DesiredRejected || got.Reported != "1" || got.Feed == 0 {
			t.Errorf("%+v", got)
		}
	case <-time.After(time.Minute):
		t.Fatal("Await does not return")
	}
}

// TestSession follows what ends an MQTT session.
func TestSession(t *testing.T) {
	for name, end := range map[string]func(p *plant, id string) error{
		"rotated": func(p *plant, id string) error { _, err := p.control.Rotate(context.Background(), id); return err },
		"disabled": func(p *plant, id string) error {
			return change(p, id, func(d *nave.ControlDevice) { d.Disabled = true })
		},
		"inactive": func(p *plant, id string) error {
			return change(p, id, func(d *nave.ControlDevice) { d.Inactive = true })
		},
		"https only": func(p *plant, id string) error {
			return change(p, id, func(d *nave.ControlDevice) { d.Protocols = []string{"https"} })
		},
		"deleted": func(p *plant, id string) error { return p.control.Delete(context.Background(), id) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(t)
			d := p.device(t)
			ctx := context.Background()
			k, err := d.Credential(ctx, []byte{1}, []string{control.ScopeMQTT})
			if err != nil {
				t.Fatal(err)
			}
			heard, over := make(chan nave.DesiredState, 1), make(chan *fault.Error, 1)
			if _, err := p.control.Login(ctx, d.ID, d.ID, "wrong", nil, nil); !errors.Is(err, fault.ControlUnauthorized) {
				t.Fatal(err)
			}
			s, err := p.control.Login(ctx, d.ID, d.ID, k.Password, func(s nave.DesiredState) { heard <- s }, func(e *fault.Error) { over <- e })
			if err != nil || !s.Has(control.ScopeMQTT) || s.Has(control.ScopeMQTTAck) {
				t.Fatal(err)
			}
			if _, err := p.control.Set(ctx, d.ID, d.Sources[0].ID, "1", "me"); err != nil {
				t.Fatal(err)
			}
			if got := <-heard; got.Value != "1" || got.Sequence != 1 {
				t.Errorf("%+v", got)
			}
			if err := end(p, d.ID); err != nil {
				t.Fatal(err)
			}
			select {
			case <-over:
			case <-time.After(time.Minute):
				t.Fatal("the session goes on")
			}
		})
	}
}

func change(p *plant, id string, f func(*nave.ControlDevice)) error {
	_, err := p.control.Change(context.Background(), id, func(d *nave.ControlDevice) error { f(d); return nil })
	return err
}

// TestOneIssueTime has a desired state look the same to whoever is told of it
// at once and to whoever reads it later.
func TestOneIssueTime(t *testing.T) {
	p := newPlant(t)
	d := p.device(t)
	for n := range 20 {
		s, err := p.control.Set(t.Context(), d.ID, d.Sources[0].ID, fmt.Sprint(n), "test")
		if err != nil {
			t.Fatal(err)
		}
		read, err := d.Pending(t.Context())
		if err != nil || len(read) != 1 || !read[0].Issued.Equal(s.Issued) {
			t.Fatal(read, s, err)
		}
	}
}
