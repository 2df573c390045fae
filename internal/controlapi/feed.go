package controlapi

import (
	"net/http"
	"strconv"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/fault"
)

// feedOne is E9 (iot-v1 5).
func (c *call) feedOne() error {
	d := c.device
	if err := d.Take(nave.FeedClass); err != nil {
		return err
	}
	body, err := c.body(d.Limits.RequestBytes)
	if err != nil {
		return err
	}
	item, err := control.ParseItem(body, c.s.control.Now())
	if err != nil {
		return err
	}
	r, err := d.Feed(c.r.Context(), item, control.HTTPS)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if r.Status == control.Idempotent {
		status = http.StatusOK
	}
	b := append(make([]byte, 0, 192+len(r.Warnings)), `{"code":2000,"status":"`...)
	b = append(append(b, r.Status...), `","feed_data_id":`...)
	b = append(strconv.AppendInt(b, r.FeedID, 10), `,"message_id":`...)
	b = append(appendText(b, r.Message), `,"warnings":`...)
	c.revisions()
	c.reply(status, append(append(b, r.Warnings...), '}'))
	return nil
}

// feedBatch is E10 (iot-v1 6).
func (c *call) feedBatch() error {
	d := c.device
	if err := d.Take(nave.FeedClass); err != nil {
		return err
	}
	body, err := c.body(d.Limits.RequestBytes)
	if err != nil {
		return err
	}
	entries, err := control.ParseBatch(body, d.Limits.BatchItems, c.s.control.Now())
	if err != nil {
		return err
	}
	all, err := d.FeedBatch(c.r.Context(), entries, control.HTTPS)
	if err != nil {
		return err
	}
	c.revisions()
	c.reply(http.StatusOK, appendBatch(all))
	return nil
}

func appendBatch(all []control.Outcome) []byte {
	count := map[string]int{}
	b := make([]byte, 0, 160*len(all))
	for n := range all {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendOutcome(b, n, &all[n], count)
	}
	head := append(make([]byte, 0, len(b)+160), `{"code":2000,"status":"processed","summary":{"created":`...)
	head = append(strconv.AppendInt(head, int64(count[control.Created]), 10), `,"idempotent":`...)
	head = append(strconv.AppendInt(head, int64(count[control.Idempotent]), 10), `,"rejected":`...)
	head = append(strconv.AppendInt(head, int64(count[statusRejected]), 10), `},"results":[`...)
	return append(append(head, b...), `]}`...)
}

// statusRejected is the status of an item that was refused (iot-v1 BA-3).
const statusRejected = "rejected"

func appendOutcome(b []byte, n int, o *control.Outcome, count map[string]int) []byte {
	b = append(strconv.AppendInt(append(b, `{"index":`...), int64(n), 10), `,"message_id":`...)
	if o.Message == nil {
		b = append(b, "null"...)
	} else {
		b = appendText(b, *o.Message)
	}
	if o.Err == nil {
		r := o.Result
		count[r.Status]++
		b = append(append(b, `,"status":"`...), r.Status...)
		b = strconv.AppendInt(append(b, `","code":2000,"feed_data_id":`...), r.FeedID, 10)
		return append(append(append(b, `,"warnings":`...), r.Warnings...), '}')
	}
	count[statusRejected]++
	e, status := known(o.Err)
	if e.Code == fault.ControlValidationFailed {
		e.Text = "the item is not valid"
	}
	if status == http.StatusTooManyRequests || status >= 500 {
		e.Detail["retry_after"] = control.Seconds(max(e.After, pause))
	}
	b = strconv.AppendInt(append(b, `,"status":"rejected","code":`...), int64(e.Code.ID), 10)
	return append(appendError(append(b, `,"warnings":[],"error":`...), e), '}')
}
