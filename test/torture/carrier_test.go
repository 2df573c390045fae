package main

import (
	"slices"
	"testing"
)

func TestTaskJudge(t *testing.T) {
	for _, c := range []struct {
		name string
		bend func(a *taskAnswer)
		want string
	}{
		{"as expected", nil, ""},
		{"an item left", func(a *taskAnswer) { a.Entities[1].State = "inProgress" }, "the outcome is"},
		{"a step that is not allowed succeeds", func(a *taskAnswer) {
			a.Entities[1] = taskItem{ProductID: "s1", State: "done", Status: "SUSPENDED", StatusCode: 200}
		}, "s1 was INVENTORY"},
		{"an unknown ICCID succeeds", func(a *taskAnswer) { a.Entities[2].StatusCode = 200 }, "unknown ICCID"},
		{"a SIM is missing", func(a *taskAnswer) { a.Entities = a.Entities[:2] }, "the hub holds"},
		{"counts", func(a *taskAnswer) { a.Statistics.Succeeded = 2 }, "it ended as"},
		{"no end", func(a *taskAnswer) { a.FinishedAt = "" }, "it ended as"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &ledger{}
			k := &carrier{l: l, cards: []*card{{id: "s0", status: "ACTIVE"}, {id: "s1", status: "INVENTORY"}}}
			b := &bulk{id: "t", reason: "r", to: "SUSPENDED", cards: k.cards, unknown: []string{"89"}}
			k.open = b
			a := &taskAnswer{ID: "t", State: "done", Status: "SUSPENDED", Reason: "r", FinishedAt: "now", Entities: []taskItem{
				{ProductID: "s0", State: "done", Status: "SUSPENDED", StatusCode: 200}, {ProductID: "s1", State: "failed", Status: "INVENTORY", StatusCode: 400},
				{ICCID: "89", State: "failed", StatusCode: 404}}}
			a.Statistics.Total, a.Statistics.Succeeded, a.Statistics.Failed = 3, 1, 2
			a.Errors = make([]struct{ Code, ProductID string }, 2)
			if c.bend != nil {
				c.bend(a)
			}
			if !k.judge(b, a) || k.open != nil {
				t.Error("the task is still open")
			}
			expect(t, l, c.want)
		})
	}
}

func TestCardJudge(t *testing.T) {
	change := cardChange{"INVENTORY", "ACTIVE", "r"}
	for _, c := range []struct {
		name, status string
		have         []cardChange
		want         string
	}{
		{"as expected", "ACTIVE", []cardChange{change}, ""},
		{"done twice", "ACTIVE", []cardChange{change, change}, "one too many"},
		{"lost", "INVENTORY", nil, "s0 is INVENTORY, its tasks made it ACTIVE"},
		{"no history", "ACTIVE", nil, "lacks"},
		{"another", "ACTIVE", []cardChange{{"INVENTORY", "ACTIVE", "q"}}, "in the place of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &ledger{}
			(&carrier{l: l}).compare(&card{id: "s0", status: "ACTIVE", changes: []cardChange{change}}, c.status, slices.Concat(birth, c.have))
			expect(t, l, c.want)
		})
	}
}
