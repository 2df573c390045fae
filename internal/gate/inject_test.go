package gate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
)

func inject(t *testing.T, g *gate.Gate, r gate.Rule) gate.Rule {
	t.Helper()
	r, err := g.Inject(r)
	want(t, err, nil)
	return r
}

func TestEveryCodeCanBeInjected(t *testing.T) {
	g := open(t, gate.Options{})
	for c := range fault.All() {
		r := inject(t, g, gate.Rule{Code: c.ID, Family: c.Family, Text: "on purpose"})
		e := want(t, enter(g, &opPing, 0), c)
		if e.Code.ID != c.ID || e.Code.Family != c.Family || e.Text != "on purpose" {
			t.Errorf("%d comes out as %v", c.ID, e)
		}
		if c.Family == fault.Hub && g.Usage()[opPing.Name].Refused[c.ID] == 0 {
			t.Errorf("%d is not metered", c.ID)
		}
		want(t, g.Remove(r.ID), nil)
		want(t, enter(g, &opPing, 0), nil)
	}
}

func TestSelection(t *testing.T) {
	ops := []*gate.Op{&opReport, &opQuery, &opSend}
	tests := []struct {
		name string
		rule gate.Rule
		hits string // op and identity of what fails
	}{
		{"all", gate.Rule{}, "twin.report d1, twin.report d1/m1, twin.report d2, twin.query d1, twin.query d1/m1, twin.query d2, telemetry.send d1, telemetry.send d1/m1, telemetry.send d2"},
		{"name", gate.Rule{Op: "twin.query"}, "twin.query d1, twin.query d1/m1, twin.query d2"},
		{"pattern and device", gate.Rule{Op: "twin.*", Device: "d1"}, "twin.report d1, twin.report d1/m1, twin.query d1, twin.query d1/m1"},
		{"noun is not a prefix", gate.Rule{Op: "twin"}, ""},
		{"verb", gate.Rule{Op: "*.send", Device: "d2"}, "telemetry.send d2"},
		{"module", gate.Rule{Op: "*.send", Module: "m1"}, "telemetry.send d1/m1"},
		{"module of device", gate.Rule{Device: "d2", Module: "m1"}, ""},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			g := open(t, gate.Options{})
			c.rule.Code = 503005
			inject(t, g, c.rule)
			var hits []string
			for _, op := range ops {
				for _, on := range []nave.ID{d1, m1, d2} {
					if err := g.Enter(t.Context(), owner, on, op, 0); err != nil {
						want(t, err, fault.ServerBusy)
						hits = append(hits, op.Name+" "+on.String())
					}
				}
			}
			if got := strings.Join(hits, ", "); got != c.hits {
				t.Errorf("struck %s, want %s", got, c.hits)
			}
		})
	}
}

func TestInjectCount(t *testing.T) {
	g := open(t, gate.Options{})
	first := inject(t, g, gate.Rule{Code: 429001, Count: 2, After: 7 * time.Second})
	inject(t, g, gate.Rule{Code: 404001, Count: 1})
	t.Run("text and retry", func(t *testing.T) {
		if e := want(t, enter(g, &opPing, 0), fault.ThrottlingException); e.After != 7*time.Second || !strings.Contains(e.Text, first.ID) {
			t.Errorf("got %+v", e)
		}
	})
	if r := g.Rules(); len(r) != 2 || r[0].Count != 1 {
		t.Errorf("rules %+v", r)
	}
	want(t, enter(g, &opPing, 0), fault.ThrottlingException)
	want(t, enter(g, &opPing, 0), fault.DeviceNotFound)
	want(t, enter(g, &opPing, 0), nil)
	if r := g.Rules(); r != nil {
		t.Errorf("rules left: %+v", r)
	}
}

func TestInjectProbability(t *testing.T) {
	g := open(t, gate.Options{})
	inject(t, g, gate.Rule{Code: 503001, Probability: 0.25})
	var hit int
	for range 4000 {
		if enter(g, &opPing, 0) != nil {
			hit++
		}
	}
	if hit < 800 || hit > 1200 { // more than seven standard deviations
		t.Errorf("%d of 4000 struck, want about 1000", hit)
	}
}

func TestInjectUntil(t *testing.T) {
	at := clockAt(time.Unix(1_700_000_000, 0))
	g := open(t, gate.Options{Now: at.Now})
	inject(t, g, gate.Rule{Op: opSend.Name, Device: "d1", Code: 403002, Until: at.Now().Add(5 * time.Second)})
	want(t, enter(g, &opSend, 0), fault.IotHubQuotaExceeded)
	want(t, enter(g, &opReport, 0), nil)
	at.add(5 * time.Second)
	want(t, enter(g, &opSend, 0), nil)
	if r := g.Rules(); r != nil {
		t.Errorf("rules left: %+v", r)
	}
}

func TestInjectRefused(t *testing.T) {
	g := open(t, gate.Options{})
	inject(t, g, gate.Rule{ID: "mine", Code: 500001, Op: "none"})
	for name, c := range map[string]struct {
		rule gate.Rule
		text string
	}{
		"unknown code":      {gate.Rule{Code: 404009999}, "404009999"},
		"near miss":         {gate.Rule{Code: 429009}, "429001 ThrottlingException"},
		"other family":      {gate.Rule{Code: 404201}, "404201 EnrollmentNotFound (dps)"},
		"taken id":          {gate.Rule{ID: "mine", Code: 500001}, `"mine"`},
		"negative count":    {gate.Rule{Code: 500001, Count: -1}, "-1"},
		"probability":       {gate.Rule{Code: 500001, Probability: 1.5}, "1.5"},
		"pattern":           {gate.Rule{Code: 500001, Op: "twin.["}, "twin.["},
		"until in the past": {gate.Rule{Code: 500001, Until: time.Unix(1, 0)}, "1970"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := g.Inject(c.rule)
			if e := want(t, err, fault.ArgumentInvalid); !strings.Contains(e.Text, c.text) {
				t.Errorf("text is %q, want %q in it", e.Text, c.text)
			}
		})
	}
	want(t, g.Remove("other"), fault.GenericNotFound)
	if r := g.Rules(); len(r) != 1 {
		t.Errorf("rules %+v", r)
	}
}

func TestSkip(t *testing.T) {
	g := open(t, gate.Options{})
	inject(t, g, gate.Rule{Code: 503005, Skip: 2, Count: 1})
	want(t, enter(g, &opPing, 0), nil)
	want(t, enter(g, &opPing, 0), nil)
	want(t, enter(g, &opPing, 0), fault.ServerBusy)
	want(t, enter(g, &opPing, 0), nil)
}

// TestInjectOperation tries patterns on a gate that knows its operations: one
// that fits none is refused with those that may have been meant.
func TestInjectOperation(t *testing.T) {
	g := open(t, gate.Options{Ops: []string{"telemetry.send", "twin.get", "twin.read", "c2d.send", "method.invoke"}})
	for _, op := range []string{"", "*", "twin.get", "twin.*", "*.send", "t*", "tw??.read"} {
		inject(t, g, gate.Rule{Code: 429001, Op: op})
	}
	g.Clear()
	for op, text := range map[string]string{
		"twn.*":         "close are twin.get, twin.read",
		"TWIN.*":        "close are twin.get, twin.read",
		"twin":          "close are twin.get, twin.read",
		"twin.write":    "close are twin.get, twin.read",
		"device.invoke": "close are method.invoke",
		"send":          "close are c2d.send, telemetry.send",
		"registry.*":    "patterns for all of them are c2d.*, method.*, telemetry.*, twin.*",
		"[":             "no valid pattern",
	} {
		_, err := g.Inject(gate.Rule{Code: 429001, Op: op})
		if e := want(t, err, fault.ArgumentInvalid); !strings.Contains(e.Text, text) {
			t.Errorf("%q answers %q, expected is %q in it", op, e.Text, text)
		}
	}
	if rules := g.Rules(); rules != nil {
		t.Errorf("a refused rule is in force: %v", rules)
	}
}
