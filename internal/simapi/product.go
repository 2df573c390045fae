package simapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/sim"
)

// summary are the members of a product in lists (LS-2).
var summary = []string{"id", "href", "isBundle", "status", "connectivityType", "relatedParty", "productOffering", "productCharacteristic", "device",
	"@baseType", "@type"}

// summaryCharacteristics are the characteristics of a product in lists.
var summaryCharacteristics = []string{"SYSTEM", "ICCID", "IMSI", "MSISDN", "imei", "serialNumber"}

func escaped(all []string) (out []string) {
	for _, s := range all {
		out = append(out, url.PathEscape(s))
	}
	return out
}

// listProducts is row 1 of section 6.
func (c *call) listProducts() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	page, keys, s := q.paging(), q.sort(), q.selection()
	if err := c.judge(q, &s); err != nil {
		return err
	}
	if all := s.warnings(); all != nil {
		// FI-2: nothing at all, so that no bulk operation can follow by mistake.
		e := list[*sim.Product](c, page, 0, nil)
		e.Warnings = all
		return c.show(e)
	}
	s.query.Paging, s.query.Sort = page, keys
	s.query.Complete = needsAll(s.fields)
	found, err := c.access().List(c.r.Context(), &s.query)
	if err != nil {
		return err
	}
	names := s.fields
	if names == nil {
		names = summary
	}
	e := list[*sim.Product](c, page, found.Total, nil)
	for _, p := range found.Products {
		e.Entities = append(e.Entities, c.entity(p, names))
	}
	e.Statistics.Count = len(e.Entities)
	for _, p := range found.Errors {
		e.Errors = append(e.Errors, c.item(p))
	}
	return c.show(e)
}

// judge ends step 10, and under strict handling refuses bad filters (FI-11).
func (c *call) judge(q *query, s *selection) error {
	if err := q.done(); err != nil {
		return err
	}
	if c.strict {
		c.applied("handling=strict")
		q.strictly(s.warnings())
	}
	return q.issues.err()
}

// needsAll says whether the members are more than the summary has.
func needsAll(fields []string) bool {
	return slices.Contains(fields, "productRelationship")
}

// entity returns a product of a list with these members.
func (c *call) entity(p *sim.Product, names []string) jsontext.Value {
	p.CorrelationID = c.id
	if !needsAll(names) {
		p.ProductCharacteristic = slices.DeleteFunc(slices.Clone(p.ProductCharacteristic), func(ch sim.Characteristic) bool {
			return !slices.Contains(summaryCharacteristics, ch.Name)
		})
	}
	return project(encode(p.WithBase(c.base())), names)
}

// item completes a problem that is a part of an answer.
func (c *call) item(p *sim.Problem) *sim.Problem {
	p.Instance, p.TraceID = c.r.URL.EscapedPath(), c.id
	return p.WithBase(c.base())
}

// showProduct is row 2: a composite or a part. A filter is a condition (FI-14).
func (c *call) showProduct() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	s := q.selection()
	if err := c.judge(q, &s); err != nil {
		return err
	}
	r, err := c.access().Product(c.r.Context(), c.ids[0], sim.ReadOptions{Cached: c.cached, Correlation: c.id})
	if err != nil {
		return err
	}
	if s.badFilter != nil || s.filtered && !s.query.Matches(r.Product) {
		c.warnAbout(s.badFilter)
		return fault.SIMNoMatch.New("The product does not meet the filter of the request. Look for typing errors and blanks at its end.")
	}
	if r.Cached {
		c.applied("respond-cached")
		c.w.Header().Set("Age", seconds(max(r.Age, 0)/time.Second*time.Second))
	}
	if s.badFields != nil {
		c.warnAbout(s.badFields)
		return c.cacheable([]byte("{}"), []byte("{}"))
	}
	return c.showReading(r, s.fields)
}

func (c *call) showReading(r *sim.Reading, fields []string) error {
	var b, seed []byte
	if r.Part != nil {
		r.Part.CorrelationID = ""
		seed = encode(r.Part.WithBase(c.base()))
		r.Part.CorrelationID = c.id
		b = encode(r.Part)
	} else {
		r.Product.CorrelationID = ""
		seed = encode(r.Product.WithBase(c.base()))
		r.Product.CorrelationID = c.id
		b = encode(r.Product)
	}
	if fields != nil {
		b = project(b, fields)
		seed = append(seed, strings.Join(fields, ",")...)
	}
	return c.cacheable(b, seed)
}

// maxValuesOf is how many identifiers one request may name (LS-10, BK-3).
const maxIdentifiers = 1000

// findProducts is row 3.
func (c *call) findProducts() error {
	var i issues
	r := &sim.FindRequest{}
	lists := []struct {
		name string
		to   *[]string
	}{{"idList", &r.ID}, {"iccidList", &r.ICCID}, {"terminalSNList", &r.Serial}, {"imsiList", &r.IMSI}, {"msisdnList", &r.MSISDN},
		{"imeiList", &r.IMEI}, {"eidList", &r.EID}, {"deviceIdList", &r.Device}}
	var names []string
	for _, l := range lists {
		names = append(names, l.name)
	}
	if i.object(&c.body, "", names...) {
		total, wrong := 0, i.count
		for _, l := range lists {
			*l.to = i.texts(&c.body, "", l.name)
			total += len(*l.to)
		}
		switch {
		case total == 0 && i.count == wrong:
			i.body("", "required", "At least one list must hold a value.")
		case total > maxIdentifiers:
			i.body("", "too_many", "All lists together may hold 1000 values.")
		}
	}
	if err := i.err(); err != nil {
		return err
	}
	if err := c.noQuery(); err != nil {
		return err
	}
	found, err := c.access().Find(c.r.Context(), r)
	if err != nil {
		return err
	}
	e := list[*sim.Product](c, sim.Paging{Number: 1, Size: maxIdentifiers}, len(found.Products), nil)
	for _, p := range found.Products {
		p.CorrelationID = c.id
		e.Entities = append(e.Entities, encode(p.WithBase(c.base())))
	}
	e.Statistics.Count = len(e.Entities)
	for _, err := range found.Missing {
		e.Errors = append(e.Errors, c.s.problem(c, err))
	}
	return c.show(e)
}

// importSIMs is POST /product of section 6.9.
func (c *call) importSIMs() error {
	var i issues
	var account string
	var sims []sim.SIM
	if i.object(&c.body, "", "account", "sim") {
		account, _ = i.text(&c.body, "", "account", true)
		sims = i.sims(c.body.member("sim"))
	}
	if err := i.err(); err != nil {
		return err
	}
	if err := c.noQuery(); err != nil {
		return err
	}
	made, err := c.access().Import(c.r.Context(), account, sims, c.source())
	if err != nil {
		return err
	}
	e := list[*sim.Product](c, sim.Paging{Number: 1, Size: maxIdentifiers}, len(made), nil)
	for _, p := range made {
		e.Entities = append(e.Entities, c.entity(p, summary))
	}
	e.Statistics.Count = len(e.Entities)
	return c.reply(http.StatusCreated, e)
}

// sims reads the entries of an import.
func (i *issues) sims(v *value) (all []sim.SIM) {
	switch {
	case v == nil:
		i.body("/sim", "required", "Must be given.")
		return nil
	case !i.list(v, "/sim"):
		return nil
	case len(v.items) == 0:
		i.body("/sim", "required", "At least one entry is needed.")
	case len(v.items) > maxIdentifiers:
		i.body("/sim", "too_many", "At most 1000 entries are allowed.")
		return nil
	}
	for n := range v.items {
		var s sim.SIM
		item, pointer := &v.items[n], atItem("/sim", n)
		if !i.object(item, pointer, "iccid", "imsi", "msisdn", "imei", "eid", "offering") {
			continue
		}
		for _, m := range []struct {
			name  string
			to    *string
			valid func(string) bool
		}{{"iccid", &s.ICCID, iccidForm}, {"imsi", &s.IMSI, imsiForm}, {"msisdn", &s.MSISDN, msisdnForm},
			{"imei", &s.IMEI, imeiForm}, {"eid", &s.EID, eidForm}, {"offering", &s.Offering, between(1, 64)}} {
			text, ok := i.text(item, pointer, m.name, false)
			if ok && item.member(m.name) != nil && !m.valid(text) {
				i.body(at(pointer, m.name), "invalid_value", "No such identifier can exist.")
			}
			*m.to = text
		}
		all = append(all, s)
	}
	return all
}
