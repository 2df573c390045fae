package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// taskAnswer is a bulk change.
type taskAnswer struct {
	ID         string `json:"id"`
	State      string `json:"state"`
	Status     string `json:"status"`
	Reason     string `json:"reason"`
	Created    string `json:"createdAt"`
	Finished   string `json:"finishedAt"`
	Statistics struct {
		Total      int `json:"total"`
		Succeeded  int `json:"succeeded"`
		Failed     int `json:"failed"`
		InProgress int `json:"inProgress"`
	} `json:"statistics"`
	Items []struct {
		Product string `json:"productId"`
		ICCID   string `json:"iccid"`
		State   string `json:"state"`
		Status  string `json:"status"`
	} `json:"entities"`
	Errors []simProblem `json:"errors"`
}

// monitorAnswer is an asynchronous change.
type monitorAnswer struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Source   string `json:"sourceHref"`
	Response struct {
		Code int             `json:"statusCode"`
		Body json.RawMessage `json:"body"`
	} `json:"response"`
}

// underWay is the state of a task that goes on.
const underWay = "inProgress"

func simTask(e *env) *cobra.Command {
	c := &cobra.Command{Use: "task", Short: "Bulk changes: list, show, cancel", Aliases: []string{"tasks"}, RunE: group,
		Example: "  nave sim task list\n  nave sim task show 1f0b7c1a-5f6e-4ad0-8a52-3b6a1f0c7e21"}
	top := 20
	list := &cobra.Command{Use: "list", Short: "List bulk changes, the newest first", Args: cobra.NoArgs, Aliases: []string{"ls"}, Example: "  nave sim task list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var found struct {
				envelopeAnswer
				Entities []taskAnswer `json:"entities"`
			}
			_, told, err := e.simCall(cmd.Context(), simRequest{method: http.MethodGet, path: "/task", query: url.Values{"pageSize": {strconv.Itoa(top)}}}, &found)
			if err != nil || told {
				return err
			}
			if len(found.Entities) == 0 {
				e.say("There are no tasks. A change of several SIMs makes one.")
				return nil
			}
			t := newTable("TASK", "STATE", "STATUS", "SIMS", "DONE", "FAILED") // fits 80 columns
			for _, k := range found.Entities {
				n := k.Statistics
				t.add(k.ID, taskState(k.State), k.Status, strconv.Itoa(n.Total), strconv.Itoa(n.Succeeded), strconv.Itoa(n.Failed))
			}
			return e.table(t)
		}}
	list.Flags().IntVar(&top, "top", top, "how many")
	c.AddCommand(list, simTaskOne(e, "show", "Show a bulk change with what failed", http.MethodGet, ""),
		simTaskOne(e, "cancel", "End a bulk change; what has begun runs to its end", http.MethodPost, "/cancel"))
	return c
}

func simTaskOne(e *env, verb, short, method, below string) *cobra.Command {
	return &cobra.Command{Use: verb + " TASK", Short: short, Args: cobra.ExactArgs(1), Example: "  nave sim task " + verb + " 1f0b7c1a-5f6e-4ad0-8a52-3b6a1f0c7e21",
		RunE: func(cmd *cobra.Command, args []string) error {
			var t taskAnswer
			_, told, err := e.simCall(cmd.Context(), simRequest{method: method, path: "/task/" + url.PathEscape(args[0]) + below}, &t)
			if err != nil || told {
				return err
			}
			return e.showTask(&t)
		}}
}

// taskState returns a short word for the state of a task.
func taskState(state string) string {
	if short := map[string]string{underWay: "running", "terminatedWithError": "failed"}[state]; short != "" {
		return short
	}
	return state
}

// cancelled counts the items that were not begun when the task was cancelled.
func (t *taskAnswer) cancelled() (n int) {
	for i := range t.Items {
		n += map[bool]int{true: 1}[t.Items[i].State == "cancelled"]
	}
	return n
}

// shownFailures is how many failed items are told of.
const shownFailures = 20

func (e *env) showTask(t *taskAnswer) error {
	n := t.Statistics
	ended, cancelled := "", ""
	if c := t.cancelled(); c > 0 {
		cancelled = strconv.Itoa(c) + " of them"
	}
	if t.Finished != "" {
		ended = when(t.Finished)
	}
	e.facts("Task", t.ID, "State", t.State, "Status", t.Status, "Reason", t.Reason, "SIMs", strconv.Itoa(n.Total), "Done", strconv.Itoa(n.Succeeded),
		"Failed", strconv.Itoa(n.Failed), "Cancelled", cancelled, "Under way", strconv.Itoa(n.InProgress), "Started", when(t.Created), "Ended", ended)
	if len(t.Errors) == 0 {
		return nil
	}
	e.print("")
	w := newTable("SIM", "ERROR", "WHY")
	for i := range t.Errors[:min(len(t.Errors), shownFailures)] {
		p := &t.Errors[i]
		w.add(p.Product, p.Code, p.Detail)
	}
	if err := e.table(w); err != nil {
		return err
	}
	e.more(len(t.Errors) > shownFailures, shownFailures)
	return nil
}

var taskID = regexp.MustCompile(`^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`)

func simTrack(e *env) *cobra.Command {
	wait := defaultWait
	c := &cobra.Command{Use: "track MONITOR|TASK", Short: "Follow an asynchronous or a bulk change to its end", Args: cobra.ExactArgs(1),
		Example: "  nave sim track 8900101000000000076-1772366400000\n  nave sim track 1f0b7c1a-5f6e-4ad0-8a52-3b6a1f0c7e21 --wait 1h",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := e.sims(cmd.Context())
			if err != nil {
				return err
			}
			if !taskID.MatchString(args[0]) {
				return s.follow(cmd.Context(), args[0], wait)
			}
			return s.followTasks(cmd.Context(), []*taskAnswer{{ID: args[0], State: underWay}}, wait)
		}}
	c.Flags().DurationVar(&wait, "wait", wait, "how long to follow it; 0: look once")
	return c
}

// defaultWait is how long a change is followed.
const defaultWait = 5 * time.Minute

// lookEvery is the pause between two looks at something that is under way.
const lookEvery = 300 * time.Millisecond

// until calls look until it says that all is done, ctx ends or the time is up;
// done is false then.
func until(ctx context.Context, wait time.Duration, look func() (done bool, err error)) (done bool, err error) {
	end := time.Now().Add(wait)
	for {
		if done, err = look(); done || err != nil || !time.Now().Before(end) {
			return done, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(min(lookEvery, time.Until(end))):
		}
	}
}

// follow waits for a monitor and tells how it ended.
func (s *simClient) follow(ctx context.Context, id string, wait time.Duration) error {
	var raw json.RawMessage
	var m monitorAnswer
	p, begun := s.e.progress("Waiting for the platform:"), time.Now()
	done, err := until(ctx, wait, func() (bool, error) {
		raw, m = nil, monitorAnswer{}
		if err := s.call(ctx, simRequest{method: http.MethodGet, path: "/monitor/" + url.PathEscape(id)}, &raw); err != nil {
			return false, err
		}
		err := json.Unmarshal(raw, &m)
		p.note("%s for %s", m.State, time.Since(begun).Round(time.Second))
		return m.State != "InProgress", err
	})
	p.end()
	if err != nil {
		return err
	}
	if s.e.json() {
		if err := s.e.printRaw(raw); err != nil {
			return err
		}
	} else {
		var part partAnswer
		json.Unmarshal(m.Response.Body, &part) // an error has other members
		product := m.Source[strings.LastIndexByte(m.Source, '/')+1:]
		s.e.facts("Change", m.ID, "Of", product, "State", m.State, "Status", part.Status)
	}
	switch {
	case !done:
		s.e.say("It goes on: 'nave sim track %s' follows it.", id)
	case m.State == "InError":
		f := &failure{}
		if !f.readProblem(m.Response.Body) {
			f.text = fmt.Sprintf("the change ended with %d", m.Response.Code)
		}
		if f.code != nil {
			f.fix = f.code.Fix
		}
		return f
	}
	return nil
}

// followTasks waits for tasks, with one bar for all, and tells how they ended.
func (s *simClient) followTasks(ctx context.Context, all []*taskAnswer, wait time.Duration) error {
	p := s.e.progress("Changing SIMs")
	done, err := until(ctx, wait, func() (bool, error) {
		ended, total, left := 0, 0, 0
		for n, t := range all {
			if t.State == underWay {
				t = new(taskAnswer)
				if err := s.call(ctx, simRequest{method: http.MethodGet, path: "/task/" + url.PathEscape(all[n].ID)}, t); err != nil {
					return false, err
				}
				all[n] = t
			}
			ended += t.Statistics.Succeeded + t.Statistics.Failed
			total += t.Statistics.Total
			left += map[bool]int{true: 1}[t.State == underWay]
		}
		p.step(ended, total)
		return left == 0, nil
	})
	p.end()
	if err != nil {
		if errors.Is(err, context.Canceled) {
			s.begun(all)
		}
		return err
	}
	return s.endTasks(all, done)
}

func (s *simClient) endTasks(all []*taskAnswer, done bool) error {
	failed, cancelled, total := 0, 0, 0
	if s.e.json() {
		if err := s.e.printJSON(all); err != nil {
			return err
		}
	}
	for _, t := range all {
		failed += t.Statistics.Failed
		cancelled += t.cancelled()
		total += t.Statistics.Total
		if !s.e.json() {
			if err := s.e.showTask(t); err != nil {
				return err
			}
		}
	}
	switch {
	case !done:
		return s.begun(all)
	case failed > 0 && failed == cancelled:
		return trouble("Ask for the change again when these SIMs shall have it, too.", "%d of %d SIMs were not changed, because the task was cancelled", failed, total)
	case failed > 0:
		return trouble("Each failed SIM has its reason above; 'nave sim task show' shows it again.", "%d of %d SIMs could not be changed", failed, total)
	}
	return nil
}
