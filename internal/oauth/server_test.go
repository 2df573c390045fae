package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/oauth"
	"github.com/nave-hub/nave/internal/store"
)

type rig struct {
	*oauth.Server
	db    *store.DB
	shift atomic.Int64
	ended atomic.Int64
}

// now is a clock that stands still unless the test moves it.
func (r *rig) now() time.Time { return appNoon.Add(time.Duration(r.shift.Load())) }

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{}
	var err error
	if r.db, err = store.Open(t.Context(), "sqlite::memory:", store.Options{Now: r.now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.db.Close() })
	r.db = r.db.Scope("hub.test")
	b, err := bus.Open(t.Context(), bus.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	r.Server, err = oauth.Open(t.Context(), oauth.ServerOptions{Realm: "iot", Host: "hub.test", DB: r.db, Bus: b,
		Ended: func(*store.Tx, string, []byte) error { r.ended.Add(1); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func (r *rig) client(t *testing.T, id string) (secret string) {
	t.Helper()
	err := r.db.Update(t.Context(), func(tx *store.Tx) (err error) { secret, err = r.PutClient(tx, id); return err })
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func (r *rig) issue(t *testing.T, id string) string {
	t.Helper()
	k, err := r.Issue(t.Context(), id, []string{"a", "b"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k.Text
}

func TestToken(t *testing.T) {
	r := newRig(t)
	secret := r.client(t, "c1")
	ctx := t.Context()
	if err := r.Authenticate(ctx, "c1", secret, "here"); err != nil || len(secret) != 43 {
		t.Fatal(err, len(secret))
	}
	k, err := r.Issue(ctx, "c1", []string{"a", "b"}, []byte(`{"x":1}`))
	if err != nil || len(k.Text) != 43 || k.Life != time.Hour || k.Renew != 48*time.Minute {
		t.Fatal(k, err)
	}
	g, err := r.Check(ctx, k.Text)
	if err != nil || g.Client != "c1" || !g.Has("b") || g.Has("c") || string(g.Claims) != `{"x":1}` {
		t.Fatal(g, err)
	}
	for _, bad := range []string{"", "abc", k.Text + "x", fmt.Sprintf("%0600d", 1)} {
		if _, err := r.Check(ctx, bad); !errors.Is(err, oauth.ErrToken) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	r.shift.Store(int64(time.Hour))
	if _, err := r.Check(ctx, k.Text); !errors.Is(err, oauth.ErrToken) {
		t.Error("an expired token:", err)
	}
	if _, err := r.Issue(ctx, "nobody", nil, nil); !errors.Is(err, oauth.ErrClient) {
		t.Error(err)
	}
}

func TestRevoke(t *testing.T) {
	r := newRig(t)
	r.client(t, "c1")
	r.client(t, "c2")
	ctx := t.Context()
	one, two := r.issue(t, "c1"), r.issue(t, "c2")
	check := func(what, token string, want error) {
		t.Helper()
		if _, err := r.Check(ctx, token); !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("fresh", one, nil)
	if err := errors.Join(r.Revoke(ctx, "c2", one), r.Revoke(ctx, "c1", "unknown")); err != nil {
		t.Fatal(err)
	}
	check("revoked by another", one, nil)
	if err := r.Revoke(ctx, "c1", one); err != nil || r.ended.Load() != 1 {
		t.Fatal(err, r.ended.Load())
	}
	check("revoked", one, oauth.ErrToken)
	check("of another", two, nil)
	r.client(t, "c2")
	check("secret rotated", two, oauth.ErrToken)
	three := r.issue(t, "c2")
	check("new", three, nil)
	if err := r.db.Update(ctx, func(tx *store.Tx) error { return r.DeleteClient(tx, "c2") }); err != nil {
		t.Fatal(err)
	}
	check("client deleted", three, oauth.ErrToken)
}

func TestTenLiveTokens(t *testing.T) {
	r := newRig(t)
	r.client(t, "c1")
	var all []string
	for range 12 {
		all = append(all, r.issue(t, "c1"))
		r.shift.Add(int64(time.Millisecond))
	}
	live := 0
	for i, token := range all {
		_, err := r.Check(t.Context(), token)
		if err == nil {
			live++
		}
		if (err == nil) != (i >= 2) {
			t.Errorf("token %d: %v", i, err)
		}
	}
	if live != 10 || r.ended.Load() != 2 {
		t.Errorf("%d live, %d ended", live, r.ended.Load())
	}
	// Expired ones make room without ending a live one.
	r.shift.Add(int64(time.Hour))
	r.issue(t, "c1")
	if r.ended.Load() != 2 {
		t.Errorf("%d ended", r.ended.Load())
	}
}

// TestOldestOfOneMoment issues tokens while the clock stands: the first one
// goes first.
func TestOldestOfOneMoment(t *testing.T) {
	r := newRig(t)
	r.client(t, "c1")
	var all []string
	for range 30 {
		all = append(all, r.issue(t, "c1"))
	}
	for n, token := range all {
		if _, err := r.Check(t.Context(), token); (err == nil) != (n >= 20) {
			t.Errorf("token %d: %v", n, err)
		}
	}
}

func TestGuesses(t *testing.T) {
	r := newRig(t)
	secret := r.client(t, "c1")
	ctx := context.Background()
	for n := range 10 {
		if err := r.Authenticate(ctx, "c1", "wrong", "there"); !errors.Is(err, oauth.ErrClient) {
			t.Fatal(n, err)
		}
	}
	var wait *oauth.Throttled
	if err := r.Authenticate(ctx, "c1", secret, "there"); !errors.As(err, &wait) || wait.After != time.Minute {
		t.Error("the eleventh from there:", err)
	}
	if err := r.Authenticate(ctx, "c1", secret, "here"); err != nil {
		t.Error("from elsewhere:", err)
	}
	if a, b := r.Authenticate(ctx, "c1", "wrong", "x"), r.Authenticate(ctx, "c9", "wrong", "x"); a != b {
		t.Errorf("%v and %v tell whether a client exists", a, b)
	}
	r.shift.Add(int64(time.Minute))
	if err := r.Authenticate(ctx, "c1", secret, "there"); err != nil {
		t.Error("a minute later:", err)
	}
	// Many sources, one client: the right secret still passes.
	for n := range 100 {
		r.Authenticate(ctx, "c1", "wrong", fmt.Sprint("bot", n))
	}
	if err := r.Authenticate(ctx, "c1", "wrong", "bot-x"); !errors.As(err, &wait) {
		t.Error("after a hundred guesses:", err)
	}
	if err := r.Authenticate(ctx, "c1", secret, "here"); err != nil {
		t.Error("the right secret:", err)
	}
	// A client that does not exist is answered alike.
	for n := range 100 {
		r.Authenticate(ctx, "c9", "wrong", fmt.Sprint("other", n))
	}
	if err := r.Authenticate(ctx, "c9", "wrong", "other-x"); !errors.As(err, &wait) {
		t.Error("an unknown client after a hundred guesses:", err)
	}
}

// TestGuessesOverWindows has ten failures within a minute that no minute of the
// first one's holds.
func TestGuessesOverWindows(t *testing.T) {
	r := newRig(t)
	secret := r.client(t, "c1")
	guess := func(n int) {
		for range n {
			if err := r.Authenticate(t.Context(), "c1", "wrong", "there"); !errors.Is(err, oauth.ErrClient) {
				t.Fatal(err)
			}
		}
	}
	guess(1)
	r.shift.Add(int64(50 * time.Second))
	guess(8)
	r.shift.Add(int64(15 * time.Second))
	guess(1)
	if err := r.Authenticate(t.Context(), "c1", secret, "there"); err != nil {
		t.Error("nine failures within a minute:", err)
	}
	guess(1)
	var wait *oauth.Throttled
	if err := r.Authenticate(t.Context(), "c1", secret, "there"); !errors.As(err, &wait) || wait.After != time.Minute {
		t.Error("ten failures within a minute:", err)
	}
	r.shift.Add(int64(time.Minute))
	if err := r.Authenticate(t.Context(), "c1", secret, "there"); err != nil {
		t.Error("a minute later:", err)
	}
}

// TestRevokeWhileChecked has many checks race with a revocation: none that
// begins after it may pass.
func TestRevokeWhileChecked(t *testing.T) {
	r := newRig(t)
	r.client(t, "c1")
	for range 20 {
		token := r.issue(t, "c1")
		var revoked atomic.Bool
		var work sync.WaitGroup
		for range 4 {
			work.Go(func() {
				for done := false; !done; {
					done = revoked.Load()
					if _, err := r.Check(context.Background(), token); err == nil && done {
						t.Error("a revoked token passed")
					}
				}
			})
		}
		if err := r.Revoke(t.Context(), "c1", token); err != nil {
			t.Error(err)
		}
		revoked.Store(true)
		work.Wait()
	}
}
