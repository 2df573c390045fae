package gate

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// Rule makes operations fail that match all of its criteria (service-api 6.3);
// an empty criterion matches everything. It needs no client that is broken, and
// reaches codes that nothing raises in normal operation.
type Rule struct {
	ID string `json:"id"` // given by Inject when empty

	Op     string `json:"op,omitempty"`     // name of the operation, or a pattern: "twin.*"
	Device string `json:"device,omitempty"` // the device and, without Module, its modules
	Module string `json:"module,omitempty"` // module id

	Code   int           `json:"code"`             // what the operation fails with
	Family fault.Family  `json:"family,omitempty"` // where the code is looked up; empty: fault.Hub
	Text   string        `json:"text,omitempty"`   // of the answer; empty: one that names the rule
	After  time.Duration `json:"after,omitempty"`  // retry-after of the answer; 0: none

	Skip        int       `json:"skip,omitempty"`        // how many matching operations it lets pass first
	Count       int       `json:"count,omitempty"`       // how many operations it strikes, those left in Rules; 0: until removed
	Probability float64   `json:"probability,omitempty"` // share of the matching operations, up to 1; 0 means 1
	Until       time.Time `json:"until,omitzero"`        // when it ends by itself; zero: never
}

// rule is a Rule in force.
type rule struct {
	Rule
	code *fault.Code
	left atomic.Int64 // strikes left, when Count is not 0
	pass atomic.Int64 // matching operations to let pass, when Skip is not 0
}

// Inject puts a rule in force, behind those that are there: the first that
// strikes decides. It returns the rule with its id, or ArgumentInvalid.
func (g *Gate) Inject(r Rule) (Rule, error) {
	r.Family = cmp.Or(r.Family, fault.Hub)
	code, err := g.checkRule(&r)
	if err != nil {
		return Rule{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var rules []*rule
	if now := g.rules.Load(); now != nil {
		rules = *now
	}
	named := func(id string) bool { return slices.ContainsFunc(rules, func(o *rule) bool { return o.ID == id }) }
	if r.ID != "" && named(r.ID) {
		return Rule{}, fault.ArgumentInvalid.New("there already is a fault rule %q", r.ID)
	}
	for r.ID == "" || named(r.ID) {
		g.nextID++
		r.ID = "fault-" + strconv.Itoa(g.nextID)
	}
	n := &rule{Rule: r, code: code}
	n.left.Store(int64(r.Count))
	n.pass.Store(int64(r.Skip))
	g.setRules(append(slices.Clip(rules), n))
	return r, nil
}

func (g *Gate) checkRule(r *Rule) (*fault.Code, error) {
	code := fault.Lookup(r.Code, r.Family)
	switch {
	case code == nil:
		return nil, fault.ArgumentInvalid.New("the code %d is unknown in the family %s%s", r.Code, r.Family, nearMisses(r.Code))
	case r.Count < 0 || r.Skip < 0:
		return nil, fault.ArgumentInvalid.New("count is %d and skip %d, they cannot be negative", r.Count, r.Skip)
	case !(r.Probability >= 0 && r.Probability <= 1): // so that NaN is refused too
		return nil, fault.ArgumentInvalid.New("probability is %v, allowed are 0 to 1", r.Probability)
	case r.After < 0:
		return nil, fault.ArgumentInvalid.New("after is %v, it cannot be negative", r.After)
	case !r.Until.IsZero() && !g.o.Now().Before(r.Until):
		return nil, fault.ArgumentInvalid.New("until is %s, which has passed", r.Until.UTC().Format(time.RFC3339))
	}
	return code, g.checkOp(r.Op)
}

// checkOp refuses a pattern that no operation of the hub fits: such a rule
// would never strike.
func (g *Gate) checkOp(pattern string) error {
	if _, err := path.Match(pattern, ""); err != nil {
		return fault.ArgumentInvalid.New("op is %q, which is no valid pattern", pattern)
	}
	fits := func(name string) bool { return fits(pattern, name) }
	if pattern == "" || g.o.Ops == nil || slices.ContainsFunc(g.o.Ops, fits) {
		return nil
	}
	return fault.ArgumentInvalid.New("op is %q, which fits no operation of this hub, %s", pattern, closeOps(pattern, g.o.Ops))
}

// fits says whether a name is what a pattern means.
func fits(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// closeOps names the operations that a wrong pattern may have meant: those of
// its noun or verb, in other letters too; else what there is, one pattern a noun.
func closeOps(pattern string, ops []string) string {
	noun, verb, _ := strings.Cut(strings.ToLower(pattern), ".")
	var near, nouns []string
	for _, op := range ops {
		n, v, _ := strings.Cut(op, ".")
		switch {
		case alike(n, noun), v == verb, v == noun, fits(strings.ToLower(pattern), op):
			near = append(near, op)
		}
		nouns = append(nouns, n+".*")
	}
	if near != nil {
		slices.Sort(near)
		return "close are " + strings.Join(near, ", ")
	}
	slices.Sort(nouns)
	return "patterns for all of them are " + strings.Join(slices.Compact(nouns), ", ")
}

// alike says whether a may be b with a letter missing, wrong or too many.
func alike(a, b string) bool {
	return b != "" && a[0] == b[0] && max(len(a), len(b))-min(len(a), len(b)) <= 1
}

// nearMisses lists the codes that may have been meant.
func nearMisses(code int) string {
	var found []string
	for _, c := range fault.Find(strconv.Itoa(code)) {
		found = append(found, fmt.Sprintf("%d %s (%s)", c.ID, c.Name, c.Family))
	}
	if found == nil {
		return ""
	}
	return ", close are " + strings.Join(found, ", ")
}

// Rules returns the rules in force, Count being what is left of it.
func (g *Gate) Rules() []Rule {
	g.prune()
	var all []Rule
	if rules := g.rules.Load(); rules != nil {
		for _, r := range *rules {
			out := r.Rule
			if r.Count > 0 {
				out.Count = int(max(1, r.left.Load()))
			}
			all = append(all, out)
		}
	}
	return all
}

// Remove ends the rule; it answers GenericNotFound when there is none of this
// id.
func (g *Gate) Remove(id string) error {
	if g.drop(func(r *rule) bool { return r.ID == id }) == 0 {
		return fault.GenericNotFound.New("there is no fault rule %q", id)
	}
	return nil
}

// Clear ends all rules.
func (g *Gate) Clear() { g.drop(func(*rule) bool { return true }) }

// prune ends the rules that have run out.
func (g *Gate) prune() {
	if g.rules.Load() == nil {
		return
	}
	now := g.o.Now()
	g.drop(func(r *rule) bool { return r.expired(now) || r.Count > 0 && r.left.Load() <= 0 })
}

func (g *Gate) drop(gone func(*rule) bool) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.rules.Load()
	if now == nil {
		return 0
	}
	kept := slices.DeleteFunc(slices.Clone(*now), gone)
	g.setRules(kept)
	return len(*now) - len(kept)
}

func (g *Gate) setRules(rules []*rule) {
	if len(rules) == 0 {
		g.rules.Store(nil)
		return
	}
	g.rules.Store(&rules)
}

func (r *rule) expired(now time.Time) bool {
	return !r.Until.IsZero() && !now.Before(r.Until)
}

func (r *rule) matches(on nave.ID, op *Op) bool {
	if r.Device != "" && r.Device != on.Device || r.Module != "" && r.Module != on.Module {
		return false
	}
	return r.Op == "" || r.Op == op.Name || fits(r.Op, op.Name)
}

// strike returns the failure that the first rule asks for, or nil.
func (g *Gate) strike(rules []*rule, on nave.ID, op *Op) *fault.Error {
	for _, r := range rules {
		if !r.matches(on, op) || r.expired(g.o.Now()) {
			continue
		}
		if r.Skip > 0 && r.pass.Add(-1) >= 0 {
			continue
		}
		if r.Probability > 0 && rand.Float64() >= r.Probability {
			continue
		}
		if r.Count > 0 {
			left := r.left.Add(-1)
			if left < 0 {
				continue
			}
			if left == 0 {
				g.prune()
			}
		}
		return r.error(op)
	}
	return nil
}

func (r *rule) error(op *Op) *fault.Error {
	if r.Text != "" {
		return r.code.New("%s", r.Text).RetryAfter(r.After)
	}
	return r.code.New("%s fails because the fault rule %s asks for it", op.Name, r.ID).RetryAfter(r.After)
}
