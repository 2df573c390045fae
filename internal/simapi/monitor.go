package simapi

import (
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/nave-hub/nave/internal/sim"
)

// showMonitor is row 5.
func (c *call) showMonitor() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	m, err := c.access().Monitor(c.r.Context(), c.ids[0])
	if err != nil {
		return err
	}
	if m.State == sim.InProgress {
		c.w.Header().Set("Retry-After", pollAfter)
	}
	return c.reply(http.StatusOK, m.WithBase(c.base()))
}

// listMonitors is row 6.
func (c *call) listMonitors() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	m := sim.MonitorQuery{Paging: q.paging(), State: q.word("state", "", sim.InProgress, sim.Completed, sim.InError)}
	if href, ok := q.take("sourceHref"); ok {
		if m.Source, ok = c.sourceOf(href); !ok {
			q.issues.query("sourceHref", "invalid_value", "Must be the sourceHref of a monitor of this tenant.")
		}
	}
	if err := q.done(); err != nil {
		return err
	}
	all, total, err := c.access().Monitors(c.r.Context(), m)
	if err != nil {
		return err
	}
	for _, one := range all {
		one.WithBase(c.base())
	}
	return c.show(list(c, m.Paging, total, all))
}

// sourceOf returns the id of the product that an address of this tenant names,
// with any of its prefixes, with or without the origin.
func (c *call) sourceOf(href string) (id string, ok bool) {
	path := strings.TrimPrefix(href, c.origin)
	for _, prefix := range []string{connectivityPrefix, aliasPrefix} {
		if id, ok = strings.CutPrefix(path, prefix+c.place.tenant+"/product/"); ok {
			return id, id != "" && !strings.Contains(id, "\x00")
		}
	}
	return "", false
}

// startTask is row 7.
func (c *call) startTask() error {
	var i issues
	t := sim.TaskRequest{Async: c.async, Origin: c.source()}
	if i.object(&c.body, "", "status", "productId", "iccid", "reason") {
		i.task(&c.body, &t, c.maxTask())
	}
	if err := i.err(); err != nil {
		return err
	}
	if err := c.noQuery(); err != nil {
		return err
	}
	task, err := c.access().StartTask(c.r.Context(), t)
	if err != nil {
		return err
	}
	if c.async {
		c.applied("respond-async")
	}
	c.finish(task)
	if task.State == sim.TaskInProgress {
		return c.tracked(task.Href, task)
	}
	return c.reply(http.StatusOK, task)
}

// task reads the body of BK-3, which may name most products.
func (i *issues) task(v *value, t *sim.TaskRequest, most int) {
	if s := v.member("status"); s == nil {
		i.body("/status", "required", "Must be given.")
	} else {
		t.Status = i.status(s, "/status")
	}
	before := i.count
	t.Products, t.ICCIDs = i.texts(v, "", "productId"), i.texts(v, "", "iccid")
	switch n := len(t.Products) + len(t.ICCIDs); {
	case n == 0 && i.count == before:
		i.body("/productId", "required", "At least one product must be named in productId or iccid.")
	case n > most:
		i.body("", "too_many", fmt.Sprintf("productId and iccid together may hold %d values.", most))
	}
	if t.Reason, _ = i.text(v, "", "reason", false); utf8.RuneCountInString(t.Reason) > 256 {
		i.body("/reason", "too_long", "At most 256 characters are allowed.")
	}
}

// finish fills what a task has of this request's address.
func (c *call) finish(t *sim.Task) *sim.Task {
	t.WithBase(c.base())
	if t.Items == nil {
		t.Items = []*sim.TaskItem{}
	}
	if c.operator == nil {
		// Only operators can cancel; programs know the states of the contract.
		for _, i := range t.Items {
			if i.State == sim.TaskCancelled {
				i.State = sim.TaskFailed
			}
		}
	}
	if t.Errors == nil {
		t.Errors = []*sim.Problem{}
	}
	return t
}

// showTask is row 8, GET of one.
func (c *call) showTask() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	t, err := c.access().Task(c.r.Context(), c.ids[0])
	if err != nil {
		return err
	}
	if t.State == sim.TaskInProgress {
		c.w.Header().Set("Retry-After", pollAfter)
	}
	return c.reply(http.StatusOK, c.finish(t))
}

// listTasks is row 8, GET of the list.
func (c *call) listTasks() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	page := q.paging()
	if err := q.done(); err != nil {
		return err
	}
	all, total, err := c.access().Tasks(c.r.Context(), page)
	if err != nil {
		return err
	}
	for _, t := range all {
		c.finish(t)
	}
	return c.show(list(c, page, total, all))
}
