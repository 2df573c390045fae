package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// simVerb is a command that asks for a status.
type simVerb struct{ name, status, short, long string }

var simVerbs = []simVerb{
	{"activate", "ACTIVE", "Put SIMs into service, also again after suspend", ""},
	{"suspend", "SUSPENDED", "Pause SIMs; their devices are cut off", "\nA device that is linked to a SIM which carries no traffic is treated like a disabled\none: its connections end within 5 s and new ones are refused."},
	{"block", "BLOCKED", "Bar SIMs; their devices are cut off", ""},
	{"terminate", "TERMINATED", "End SIMs for good", "\nTERMINATED cannot be undone. With --at-period-end the SIM stays in service until the\nend of the billing period, and 'nave sim activate' withdraws it."},
}

// maxSIMTask is how many SIMs one task takes; more take several tasks.
const maxSIMTask = 10_000

// simBulk are the flags of a command that asks for a status.
type simBulk struct {
	verb         *simVerb
	filters      simFilters
	file, reason string
	periodEnd    bool
	detach       bool
	wait         time.Duration
}

func simChange(e *env, v *simVerb) *cobra.Command {
	b := &simBulk{verb: v}
	c := &cobra.Command{Use: v.name + " [SIM…]", Short: v.short,
		Long: strings.TrimSpace(v.short + `.

SIMs are named one by one, in a file with one on each line, or by filters. One SIM is
changed at once; several are a task, which goes on when this program ends and is
followed here.` + "\n" + v.long),
		Example: "  nave sim " + v.name + " 8900101000000000019\n  nave sim " + v.name + " --from sims.txt --reason 'winter pause'\n  nave sim " + v.name + " --offering Unlimited --linked=false",
		RunE:    func(cmd *cobra.Command, args []string) error { return e.changeSIMs(cmd, b, args) }}
	b.filters.flags(c)
	f := c.Flags()
	f.StringVar(&b.file, "from", "", "file with a SIM on each line; - for standard input")
	f.StringVar(&b.reason, "reason", "", "why, for the history")
	f.BoolVar(&b.detach, "detach", false, "do not follow the change to its end")
	f.DurationVar(&b.wait, "wait", defaultWait, "how long to follow it")
	if v.name == "terminate" {
		f.BoolVar(&b.periodEnd, "at-period-end", false, "at the end of the billing period")
	}
	return c
}

func (b *simBulk) status() string {
	if b.periodEnd {
		return "PENDING_TERMINATE"
	}
	return b.verb.status
}

func (e *env) changeSIMs(cmd *cobra.Command, b *simBulk, names []string) error {
	ctx := cmd.Context()
	q, err := b.filters.query(cmd)
	if err != nil {
		return err
	}
	if b.file != "" {
		more, err := e.readNames(b.file)
		if err != nil {
			return err
		}
		names = append(names, more...)
	}
	switch {
	case len(names) > 0 && len(q) > 0:
		return misuse("Give SIMs, or filters.", "both SIMs and filters say which SIMs to change")
	case len(names) == 0 && len(q) == 0:
		return misuse("Name SIMs, or choose them with --from or a filter such as --offering.", "nothing says which SIMs to change")
	}
	s, err := e.sims(ctx)
	if err != nil {
		return err
	}
	if len(names) == 1 && b.reason == "" {
		return s.changeOne(ctx, b, names[0])
	}
	if len(q) > 0 {
		if names, err = s.chosen(ctx, q); err != nil {
			return err
		}
		if len(names) == 0 {
			e.say("No SIM fits, nothing was changed.")
			return nil
		}
	}
	return s.changeMany(ctx, b, names)
}

// readNames reads a file with one name on each line; empty lines and those that
// begin with # do not count. A table for 'nave sim import' names its SIMs, too.
func (e *env) readNames(file string) (names []string, err error) {
	in := e.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, trouble("Name a file with a SIM on each line.", "the list of SIMs can't be read: %w", err)
		}
		defer f.Close()
		in = f
	}
	b := bufio.NewReader(in)
	if hasICCIDs(b) {
		names, err = tableNames(b)
	} else {
		names, err = lineNames(b)
	}
	if err != nil {
		return nil, trouble("Name a text file with a SIM on each line.", "%s can't be read: %w", file, err)
	}
	if len(names) == 0 {
		return nil, trouble("Write a SIM on each line.", "%s names no SIM", file)
	}
	return names, nil
}

func lineNames(in io.Reader) (names []string, err error) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if text := strings.TrimSpace(lines.Text()); text != "" && text[0] != '#' {
			names = append(names, text)
		}
	}
	return names, lines.Err()
}

// tableNames returns the ICCIDs of a table; each line must have one.
func tableNames(in io.Reader) (names []string, err error) {
	rows, wrong, err := parseSIMs(in)
	switch {
	case err != nil:
		return nil, err
	case len(wrong) > 0:
		return nil, fmt.Errorf("line %d: %s", wrong[0].Line, wrong[0].Text)
	}
	for _, r := range rows {
		if r.ICCID == "" {
			return nil, fmt.Errorf("line %d: the iccid is empty", r.line)
		}
		names = append(names, r.ICCID)
	}
	return names, nil
}

// changeOne asks for a status of one SIM.
func (s *simClient) changeOne(ctx context.Context, b *simBulk, name string) error {
	id, err := s.product(ctx, name)
	if err != nil {
		return err
	}
	var now simAnswer
	cached := simRequest{method: http.MethodGet, path: simPath(id), prefer: "respond-cached"}
	if err := s.call(ctx, cached, &now); err != nil {
		return err
	}
	part := "-simCard"
	if now.Kind == "SATELLITE" {
		part = "-terminal"
	}
	var a struct { // a sub-product, or a monitor
		ID     string `json:"id"`
		Status string `json:"status"`
		State  string `json:"state"`
	}
	told, err := s.show(ctx, simRequest{method: http.MethodPatch, path: simPath(id + part), body: map[string]string{"status": b.status()}}, &a)
	if err != nil || told {
		return err
	}
	if a.State != "" {
		if b.detach {
			s.e.say("The platform works on it: 'nave sim track %s' follows it.", a.ID)
			return nil
		}
		return s.follow(ctx, a.ID, b.wait)
	}
	s.e.say("%s is %s.", id, a.Status)
	if d := now.device(); d != "" && !carries(a.Status) {
		s.e.say("Its device %s is cut off until the SIM carries traffic again.", d)
	}
	return nil
}

// carries says whether a status lets traffic pass (connectivity-api PR-9).
func carries(status string) bool {
	return status == "ACTIVE" || status == "PENDING_ACTIVE" || status == "PENDING_TERMINATE"
}

// chosen returns the ids of all SIMs that filters choose.
func (s *simClient) chosen(ctx context.Context, q url.Values) (ids []string, err error) {
	p := s.e.progress("Choosing SIMs")
	defer p.end()
	for page := 1; ; page++ {
		q.Set("pageSize", "1000")
		q.Set("pageNumber", strconv.Itoa(page))
		q.Set("fields", "id")
		var found simList
		if err := s.call(ctx, simRequest{method: http.MethodGet, path: "/product", query: q, prefer: strictly}, &found); err != nil {
			return nil, err
		}
		for _, a := range found.Entities {
			ids = append(ids, a.ID)
		}
		if p.step(len(ids), found.Statistics.Total); len(found.Entities) < 1000 {
			return ids, nil
		}
	}
}

// changeMany makes tasks of so many SIMs and follows them.
func (s *simClient) changeMany(ctx context.Context, b *simBulk, names []string) error {
	var all []*taskAnswer
	for rest := names; len(rest) > 0; {
		some := rest[:min(len(rest), maxSIMTask)]
		rest = rest[len(some):]
		body := map[string]any{"status": b.status(), "reason": b.reason}
		for _, name := range some {
			key := "productId"
			if iccidText.MatchString(name) {
				key = "iccid"
			}
			list, _ := body[key].([]string)
			body[key] = append(list, name)
		}
		t := new(taskAnswer)
		err := s.call(ctx, simRequest{method: http.MethodPost, path: "/task/productStatusChange", body: body, prefer: "respond-async"}, t)
		if err != nil {
			return errors.Join(err, s.begun(all))
		}
		all = append(all, t)
	}
	if b.detach {
		if s.e.json() {
			return s.e.printJSON(all)
		}
		for _, t := range all {
			s.e.say("The task %s changes %d SIMs: 'nave sim track %s' follows it.", t.ID, t.Statistics.Total, t.ID)
		}
		return nil
	}
	return s.followTasks(ctx, all, b.wait)
}

// begun tells of tasks that go on although a later one failed.
func (s *simClient) begun(all []*taskAnswer) error {
	for _, t := range all {
		s.e.say("The task %s goes on; 'nave sim task cancel %s' ends it.", t.ID, t.ID)
	}
	return nil
}

// copyIn returns the whole of a file, or of standard input for "-".
func (e *env) copyIn(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(e.in)
	}
	return os.ReadFile(file)
}
