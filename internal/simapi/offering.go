package simapi

import (
	"math"
	"net/http"
	"slices"
	"unicode"

	"github.com/nave-hub/nave/internal/sim"
)

// listOfferings is row 16.
func (c *call) listOfferings() error { return few(c, c.access().Offerings) }

// showOffering is row 16, one.
func (c *call) showOffering() error { return oneCached(c, c.access().Offering) }

// createOffering is POST /productOffering of section 6.9. Members that are left
// out take the least surprising value: calendar months, no limit, activation at
// once.
func (c *call) createOffering() error {
	var i issues
	o := sim.Offering{Period: sim.CalendarMonth, OnLimit: sim.Notify, Activation: sim.Immediate}
	if i.object(&c.body, "", "id", "name", "account", "billingPeriod", "dataLimitBytes", "onLimit", "activation", "imeiLock") {
		var p sim.OfferingPatch
		i.offering(&c.body, &p)
		var ok bool
		if o.ID, ok = i.text(&c.body, "", "id", false); ok && o.ID != "" && !nameForm(o.ID) {
			i.body("/id", "invalid_value", "An id has 1 to 64 letters, digits, dots, hyphens and underscores.")
		}
		o.Account, _ = i.text(&c.body, "", "account", true)
		if p.Name == nil && c.body.member("name") == nil {
			i.body("/name", "required", "Must be given.")
		}
		fill(&o.Name, p.Name)
		fill(&o.Period, p.Period)
		fill(&o.OnLimit, p.OnLimit)
		fill(&o.Activation, p.Activation)
		fill(&o.IMEILock, p.IMEILock)
		o.DataLimit = p.DataLimit
	}
	if err := i.err(); err != nil {
		return err
	}
	if err := c.noQuery(); err != nil {
		return err
	}
	made, err := c.access().CreateOffering(c.r.Context(), o)
	if err != nil {
		return err
	}
	return c.created(c.base()+"/productOffering/"+made.ID, made)
}

func fill[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// offering reads the members that can change.
func (i *issues) offering(v *value, p *sim.OfferingPatch) {
	p.Name = i.word(v, "name", nil)
	if p.Name != nil && (*p.Name == "" || len([]rune(*p.Name)) > 128 || slices.ContainsFunc([]rune(*p.Name), unicode.IsControl)) {
		i.body("/name", "invalid_value", "A name has 1 to 128 characters.")
	}
	p.Period = i.word(v, "billingPeriod", []string{sim.CalendarMonth, sim.Rolling24h, sim.Bucket})
	p.OnLimit = i.word(v, "onLimit", []string{sim.Notify, sim.Suspend})
	p.Activation = i.word(v, "activation", []string{sim.Immediate, sim.FirstUse})
	if m := v.member("imeiLock"); m != nil {
		lock := i.flag(v, "", "imeiLock")
		p.IMEILock = &lock
	}
	switch m := v.member("dataLimitBytes"); {
	case m == nil:
	case m.kind == 'n':
		p.NoLimit = true
	default:
		if n := int64(i.number(v, "", "dataLimitBytes", 1, math.MaxInt64)); n > 0 {
			p.DataLimit = &n
		}
	}
}

// word reads a member that must be one of the words, any text when there are
// none; nil when it is missing or wrong.
func (i *issues) word(v *value, name string, all []string) *string {
	m := v.member(name)
	if m == nil {
		return nil
	}
	text, ok := i.asText(m, at("", name))
	if !ok {
		return nil
	}
	if all != nil && !contains(all, text) {
		i.body(at("", name), "invalid_value", "Must be one of "+join(all)+".")
		return nil
	}
	return &text
}

// changeOffering is PATCH /productOffering/{id}, a merge patch.
func (c *call) changeOffering() error {
	var i issues
	var p sim.OfferingPatch
	if i.object(&c.body, "", "name", "billingPeriod", "dataLimitBytes", "onLimit", "activation", "imeiLock") {
		i.offering(&c.body, &p)
	}
	if err := i.err(); err != nil {
		return err
	}
	if err := c.noQuery(); err != nil {
		return err
	}
	o, err := c.access().PatchOffering(c.r.Context(), c.ids[0], p)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, o)
}
