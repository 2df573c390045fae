package simapi

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/nave-hub/nave/internal/sim"
)

// class is a set of characters of a filter's value (connectivity-api 8.3).
type class func(r rune) bool

func alnum(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// also returns letters, digits and the characters of more.
func also(more string) class {
	return func(r rune) bool { return alnum(r) || strings.ContainsRune(more, r) }
}

// wide are all Unicode letters and digits with some signs and blanks.
func wide(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" ._-/()+", r)
}

// filter is one row of connectivity-api 8.3.
type filter struct {
	name  string
	chars class
	valid func(text string) bool
	comma bool // a comma means "or"
	set   func(q *sim.Query, values []string)
}

func form(pattern string) func(string) bool { return regexp.MustCompile(pattern).MatchString }

// Forms of connectivity-api 1.1.
var (
	iccidForm   = form(`^89[0-9]{16,20}$`)
	imsiForm    = form(`^[0-9]{14,15}$`)
	msisdnForm  = form(`^[0-9]{5,15}$`)
	imeiForm    = form(`^[0-9]{14,16}$`)
	eidForm     = form(`^[0-9]{32}$`)
	productForm = form(`^[A-Z0-9]{2,16}-[A-Za-z0-9._]{1,64}$`)
	nameForm    = form(`^[A-Za-z0-9_.-]{1,64}$`)
)

func oneOf[T ~string](all ...T) func(string) bool {
	return func(text string) bool { return slices.Contains(all, T(text)) }
}

func between(least, most int) func(string) bool {
	return func(text string) bool { n := len([]rune(text)); return n >= least && n <= most }
}

func words[T ~string](values []string) (all []T) {
	for _, v := range values {
		all = append(all, T(v))
	}
	return all
}

// filters are those of GET /product; fields and customProperty.<name> are not
// among them.
var filters = []filter{
	{"id", also("._-"), productForm, true, func(q *sim.Query, v []string) { q.ID = v }},
	{"status", also("_"), oneOf(sim.Statuses...), true, func(q *sim.Query, v []string) { q.Status = words[sim.Status](v) }},
	{"connectivityType", alnum, oneOf(sim.Cellular, sim.Satellite), true, func(q *sim.Query, v []string) { q.Connectivity = words[sim.ConnectivityType](v) }},
	{"platform", alnum, form(`^[A-Z0-9]{2,16}$`), true, func(q *sim.Query, v []string) { q.Platform = v }},
	{"relatedParty.name", also("_-"), form(`^[A-Za-z0-9_-]{1,64}$`), true, func(q *sim.Query, v []string) { q.Account = v }},
	{"productOffering.name", wide, between(1, 128), false, func(q *sim.Query, v []string) { q.Offering = v[0] }},
	{"iccid", alnum, iccidForm, true, func(q *sim.Query, v []string) { q.ICCID = v }},
	{"iccid.gte", alnum, iccidForm, false, func(q *sim.Query, v []string) { q.ICCIDFrom = v[0] }},
	{"iccid.lte", alnum, iccidForm, false, func(q *sim.Query, v []string) { q.ICCIDTo = v[0] }},
	{"imsi", alnum, imsiForm, true, func(q *sim.Query, v []string) { q.IMSI = v }},
	{"msisdn", alnum, msisdnForm, true, func(q *sim.Query, v []string) { q.MSISDN = v }},
	{"imei", alnum, imeiForm, true, func(q *sim.Query, v []string) { q.IMEI = v }},
	{"eid", alnum, eidForm, true, func(q *sim.Query, v []string) { q.EID = v }},
	{"serialNumber", also("._-"), between(1, 64), true, func(q *sim.Query, v []string) { q.Serial = v }},
	{"deviceId", also("-:.+%_#*?!(),=@$'"), between(1, 128), false, func(q *sim.Query, v []string) { q.Device = v[0] }},
	{"linked", alnum, oneOf("true", "false"), false, func(q *sim.Query, v []string) { yes := v[0] == "true"; q.Linked = &yes }},
}

const customPrefix = "customProperty."

// filterOf returns the filter of a parameter's name; ok is false for a name
// that is no filter.
func filterOf(name string) (f filter, ok bool) {
	if property, found := strings.CutPrefix(name, customPrefix); found && nameForm(property) {
		return filter{name, wide, between(1, 256), false, func(q *sim.Query, v []string) {
			q.CustomProperty = append(q.CustomProperty, sim.CustomProperty{Name: property, Value: v[0]})
		}}, true
	}
	n := slices.IndexFunc(filters, func(f filter) bool { return f.name == name })
	if n < 0 {
		return f, false
	}
	return filters[n], true
}

// fieldNames are the members that fields may name (FD-3); those of part belong
// to sub-products only.
var fieldNames = []string{"id", "href", "name", "isBundle", "isCustomerVisible", "startDate", "status", "connectivityType", "relatedParty",
	"billingAccount", "productOffering", "productCharacteristic", "productRelationship", "device", "@baseType", "@type", "correlationId",
	"customProperty", "isShared", "usageType", "bucketCounter"}

var fieldsFilter = filter{"fields", also("@"), oneOf(fieldNames...), true, nil}

// selection is what the filters and fields of a query say. A bad value is a
// warning, and then nothing may be returned (FI-2).
type selection struct {
	query     sim.Query
	filtered  bool     // there is a filter
	fields    []string // nil: not given
	badFilter []sim.Warning
	badFields []sim.Warning
}

// warnings returns all of them, filters first.
func (s *selection) warnings() []sim.Warning { return slices.Concat(s.badFilter, s.badFields) }

// selection takes filters and fields. What it cannot judge because the name is
// unknown stays for done.
func (q *query) selection() (s selection) {
	type group struct {
		filter filter
		values []string
		array  bool
	}
	var groups []*group
	rest := q.pairs[:0]
	for _, p := range q.pairs {
		name, _, array := strings.Cut(p.name, "[")
		f, ok := filterOf(name)
		if name == "fields" {
			f, ok = fieldsFilter, true
		}
		if !ok || array && !strings.HasSuffix(p.name, "]") {
			rest = append(rest, p)
			continue
		}
		n := slices.IndexFunc(groups, func(g *group) bool { return g.filter.name == name })
		if n < 0 {
			n = len(groups)
			groups = append(groups, &group{filter: f})
		}
		groups[n].values = append(groups[n].values, p.value)
		groups[n].array = groups[n].array || array
	}
	q.pairs = rest
	for _, g := range groups {
		values, code := g.filter.check(g.values, g.array)
		fields := g.filter.name == "fields"
		s.filtered = s.filtered || !fields
		switch {
		case code != "" && fields:
			s.badFields = append(s.badFields, warn(g.filter.name, code))
		case code != "":
			s.badFilter = append(s.badFilter, warn(g.filter.name, code))
		case fields:
			s.fields = values
		default:
			g.filter.set(&s.query, values)
		}
	}
	return s
}

// reasons say in words what the codes of FI-4 to FI-7 mean.
var reasons = map[string]string{
	"not_a_string":           "The value is not one plain string; nothing can match it.",
	"surrounding_whitespace": "White space stands before or behind the value, so it fits nothing.",
	"special_character":      "The value has a character that no such value can have; nothing can match it.",
	"invalid_value":          "The value is none that exists; nothing can match it.",
}

func warn(parameter, code string) sim.Warning {
	return sim.Warning{Parameter: parameter, Code: code, Detail: reasons[code]}
}

// check judges the values that the query gives to a filter: in the order FI-7,
// FI-6, FI-5, FI-4, and within each over all members of a list.
func (f *filter) check(values []string, array bool) (parts []string, code string) {
	if array || len(values) > 1 {
		return nil, "not_a_string"
	}
	text := values[0]
	parts = []string{text}
	if f.comma {
		parts = strings.Split(text, ",")
	}
	if text == "" || text[0] == '{' || text[0] == '[' || slices.Contains(parts, "") {
		return nil, "not_a_string"
	}
	for _, bad := range []struct {
		code string
		is   func(part string) bool
	}{
		{"surrounding_whitespace", func(p string) bool { return strings.TrimFunc(p, unicode.IsSpace) != p }},
		{"special_character", func(p string) bool { return strings.ContainsFunc(p, func(r rune) bool { return !f.chars(r) }) }},
		{"invalid_value", func(p string) bool { return !f.valid(p) }},
	} {
		if slices.ContainsFunc(parts, bad.is) {
			return nil, bad.code
		}
	}
	return parts, ""
}

// strictly turns warnings into the refusal of FI-11.
func (q *query) strictly(all []sim.Warning) {
	for _, w := range all {
		q.issues.query(w.Parameter, w.Code, w.Detail)
	}
}
