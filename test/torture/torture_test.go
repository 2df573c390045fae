package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// sceneOf returns the place of a scene, with the binary built.
func sceneOf(t *testing.T) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds and kills the binary")
	}
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return &site{binary: binary, data: filepath.Join(dir, "disk", "data"), log: filepath.Join(dir, "hub.log")}
}

// judge fails the test for everything that a scene found.
func judge(t *testing.T, s *site, l *ledger, err error) {
	t.Helper()
	if l != nil {
		n, shown := l.violations()
		for _, text := range shown {
			t.Error(text)
		}
		if n > len(shown) {
			t.Errorf("and %d more violations", n-len(shown))
		}
		t.Log(l.table())
	}
	switch {
	case errors.Is(err, errLacking) && os.Getenv("CI") == "":
		t.Skip(err)
	case err != nil:
		t.Error(err)
	}
	if t.Failed() {
		t.Logf("the end of the hub's log:\n%s", s.tail())
	}
}

func TestMain(m *testing.M) {
	code := m.Run()
	if building.file != "" {
		os.RemoveAll(filepath.Dir(building.file))
	}
	os.Exit(code)
}

func TestKill(t *testing.T) {
	s := sceneOf(t)
	whole := func(l *ledger) bool {
		return l.events.Load() > 0 && l.reports.Load() > 0 && l.registered.Load() > 0 && l.removed.Load() > 0 && l.commands.Load() > 0 &&
			l.fed.Load() > 0 && l.appAcks.Load() > 0 && l.granted.Load() > 0 && l.tasks.Load() > 0 && l.switched.Load() > 0
	}
	k := &killing{rounds: 5, devices: 8, seed: 7, out: t.Output(), whole: whole}
	l, err := withFolder(s, func() (*ledger, error) { return k.run(s) })
	judge(t, s, l, err)
	if l != nil && (!whole(l) || l.completed.Load() == 0 || l.repeated.Load() == 0) {
		t.Errorf("the load was not what it should be: %v", l.table())
	}
}

func TestFullDisk(t *testing.T) {
	s := sceneOf(t)
	l, err := playFullDisk(s, 6, t.Output())
	judge(t, s, l, err)
}

func TestFailingSync(t *testing.T) {
	s := sceneOf(t)
	l, err := playFailingSync(s, 6, t.Output())
	judge(t, s, l, err)
}
