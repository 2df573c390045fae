package simapi

import (
	"net/http"
	"strconv"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/sim"
)

// bundle refuses the id of a part where a whole product is needed (section 6).
func (c *call) bundle() error {
	if product, suffix := sim.SplitID(c.ids[0]); suffix != "" {
		return fault.SIMNotABundle.New("This is a part of a product. Use %s.", product)
	}
	return nil
}

// showUsage is row 9.
func (c *call) showUsage() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	var u sim.UsageQuery
	u.From, u.To = q.span()
	u.Granularity = sim.Granularity(q.word("granularity", string(sim.Daily), string(sim.Hourly), string(sim.Daily), string(sim.Monthly)))
	if err := q.done(); err != nil {
		return err
	}
	if err := c.bundle(); err != nil {
		return err
	}
	all, err := c.access().Usage(c.r.Context(), c.ids[0], u)
	if err != nil {
		return err
	}
	return c.show(list(c, sim.Paging{Number: 1, Size: max(len(all), 1)}, len(all), all))
}

// listDataSessions is row 10.
func (c *call) listDataSessions() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	page := q.paging()
	d := sim.DataSessionQuery{State: q.word("state", "ALL", "OPEN", "CLOSED", "ALL"), Offset: (page.Number - 1) * page.Size, Limit: page.Size}
	d.From, d.To = q.span()
	if err := q.done(); err != nil {
		return err
	}
	if err := c.bundle(); err != nil {
		return err
	}
	all, total, err := c.access().DataSessions(c.r.Context(), c.ids[0], d)
	if err != nil {
		return err
	}
	return c.show(list(c, page, total, all))
}

// showLocation is row 12.
func (c *call) showLocation() error { return one(c, c.access().Location) }

// listHistory is row 13.
func (c *call) listHistory() error { return pages(c, c.access().History) }

// resetProduct is row 14.
func (c *call) resetProduct() error {
	if err := c.closed(); err != nil {
		return err
	}
	if err := c.bundle(); err != nil {
		return err
	}
	done, err := c.access().Reset(c.r.Context(), c.ids[0], c.source())
	if err != nil {
		return err
	}
	return c.showChange(done)
}

// closed is steps 9 and 10 of operations without members and parameters.
func (c *call) closed() error {
	var i issues
	for _, m := range c.body.members {
		i.body(at("", m.name), "unknown_member", "Unknown member.")
	}
	if err := i.err(); err != nil {
		return err
	}
	return c.noQuery()
}

// sendMessage is row 11, POST.
func (c *call) sendMessage() error {
	var i issues
	var m sim.SMSRequest
	if i.object(&c.body, "", "payload", "encoding", "validitySeconds") {
		m = i.message(&c.body)
	}
	if err := i.err(); err != nil {
		return err
	}
	if err := c.noQuery(); err != nil {
		return err
	}
	if err := c.bundle(); err != nil {
		return err
	}
	made, err := c.access().SendSMS(c.r.Context(), c.ids[0], m, c.source())
	if err != nil {
		return err
	}
	return c.created(c.base()+"/product/"+c.ids[0]+"/sms/"+made.ID, made)
}

// message reads a short message (SM-1). The alphabet of a text and the form of
// digits are the domain's.
func (i *issues) message(v *value) (m sim.SMSRequest) {
	m.Payload, _ = i.text(v, "", "payload", true)
	if p := v.member("payload"); p != nil && p.kind == '"' && m.Payload == "" {
		i.body("/payload", "invalid_value", "Must not be empty.")
	}
	if e := v.member("encoding"); e != nil {
		if text, ok := i.asText(e, "/encoding"); ok && text != "TEXT" && text != "HEX" {
			i.body("/encoding", "invalid_value", "Must be TEXT or HEX.")
		} else {
			m.Encoding = text
		}
	}
	m.Validity = i.number(v, "", "validitySeconds", 60, 604800)
	return m
}

// number reads a whole number, 0 when it is missing.
func (i *issues) number(v *value, pointer, name string, least, most int) int {
	m := v.member(name)
	if m == nil {
		return 0
	}
	if m.kind != '0' {
		i.body(at(pointer, name), "invalid_type", "Must be a number.")
		return 0
	}
	n, err := strconv.ParseInt(m.text, 10, 64)
	switch {
	case err != nil:
		i.body(at(pointer, name), "invalid_value", "Must be a whole number.")
	case n < int64(least) || n > int64(most):
		i.body(at(pointer, name), "out_of_range", "Must be "+strconv.Itoa(least)+" to "+strconv.Itoa(most)+".")
	default:
		return int(n)
	}
	return 0
}

// listMessages is row 11, GET of the list.
func (c *call) listMessages() error { return pages(c, c.access().Messages) }

// showMessage is row 11, GET of one.
func (c *call) showMessage() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	if err := c.bundle(); err != nil {
		return err
	}
	m, err := c.access().Message(c.r.Context(), c.ids[0], c.ids[1])
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, m)
}
