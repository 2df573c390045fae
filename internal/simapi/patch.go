package simapi

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/sim"
)

// change is what a PATCH asks for: a status or custom properties, never both
// (SC-6).
type change struct {
	status     sim.Status
	test       sim.Status
	properties []sim.PropertyOp
}

// changeProduct is row 4.
func (c *call) changeProduct() error {
	ch, err := parseChange(&c.body, c.contentType())
	if err != nil {
		return err
	}
	if err := c.noQuery(); err != nil {
		return err
	}
	id := c.ids[0]
	if _, suffix := sim.SplitID(id); suffix != sim.SIMCard && suffix != sim.Terminal {
		return c.unpatchable(id, suffix)
	}
	ctx, access := c.r.Context(), c.access()
	if ch.properties != nil || ch.status == "" {
		part, err := access.ChangeProperties(ctx, sim.PropertyChange{Product: id, Test: ch.test, Ops: ch.properties, Origin: c.source()})
		if err != nil {
			return err
		}
		return c.showPart(part)
	}
	done, err := access.ChangeStatus(ctx, sim.StatusChange{Product: id, To: ch.status, Test: ch.test, Async: c.async, Origin: c.source()})
	if err != nil {
		return err
	}
	if c.async && done.Monitor != nil {
		c.applied("respond-async")
	}
	return c.showChange(done)
}

// unpatchable refuses the composite and parts that cannot change (SC-1), once
// the product is known to exist.
func (c *call) unpatchable(id, suffix string) error {
	r, err := c.access().Product(c.r.Context(), id, sim.ReadOptions{Cached: true, Correlation: c.id})
	if err != nil {
		return err
	}
	product, _ := sim.SplitID(id)
	target := product + "-" + sim.SIMCard
	if r.Product != nil && r.Product.ConnectivityType == sim.Satellite {
		target = product + "-" + sim.Terminal
	}
	return fault.SIMNotPatchable.New("This part of the product cannot be changed. Aim the request at %s.", target)
}

// source is this request for monitors and history; it has no secrets (MO-6).
func (c *call) source() sim.Origin {
	o := sim.Origin{Method: c.r.Method, Path: c.r.URL.EscapedPath(), Header: []sim.HeaderItem{}, Correlation: c.id}
	for _, name := range []string{"Content-Type", "Prefer"} {
		for _, v := range c.r.Header[name] {
			o.Header = append(o.Header, sim.HeaderItem{Name: name, Value: strings.ToValidUTF8(v, "?")})
		}
	}
	body := jsontext.Value(slices.Clone(c.raw))
	if len(body) > 0 && body.Compact() == nil {
		o.Body = []byte(body)
	}
	return o
}

// showChange answers what has become of a change: 200 or 202.
func (c *call) showChange(done *sim.Change) error {
	switch {
	case done.Monitor != nil:
		m := done.Monitor.WithBase(c.base())
		return c.tracked(m.Href, m)
	case done.Part != nil:
		return c.showPart(done.Part)
	}
	return c.reply(200, struct{}{})
}

func (c *call) showPart(p *sim.SubProduct) error {
	p.CorrelationID = c.id
	return c.reply(200, p.WithBase(c.base()))
}

// parseChange is the second half of step 9 for row 4.
func parseChange(v *value, contentType string) (ch change, err error) {
	var i issues
	switch contentType {
	case "application/json-patch+json", "application/json-patch-query+json":
		i.patch(v, &ch)
	default:
		i.merge(v, &ch)
	}
	return ch, i.err()
}

// merge reads a merge patch (SC-4).
func (i *issues) merge(v *value, ch *change) {
	if !i.object(v, "", "status", "customProperty") {
		return
	}
	status, list := v.member("status"), v.member("customProperty")
	switch {
	case status == nil && list == nil && i.count == 0:
		i.body("", "required", "status or customProperty must be given.")
	case status != nil && list != nil:
		i.body("/customProperty", "invalid_value", mixed)
	}
	if status != nil {
		ch.status = i.status(status, "/status")
	}
	if list == nil || !i.list(list, "/customProperty") {
		return
	}
	op := sim.PropertyOp{Op: sim.ReplaceAllProperty, All: []sim.CustomProperty{}}
	for n := range list.items {
		pointer := atItem("/customProperty", n)
		p, ok := i.property(&list.items[n], pointer)
		if ok && slices.ContainsFunc(op.All, func(q sim.CustomProperty) bool { return q.Name == p.Name }) {
			i.body(pointer+"/name", "invalid_value", "The name stands in the list twice.")
		}
		op.All = append(op.All, p)
	}
	ch.properties = []sim.PropertyOp{op}
}

const mixed = "Status and custom properties cannot be changed in one request."

// status reads a status; one that cannot be requested is refused later (SC-10).
func (i *issues) status(v *value, pointer string) sim.Status {
	text, ok := i.asText(v, pointer)
	if ok && !sim.Status(text).Known() {
		i.body(pointer, "invalid_value", "Is no status. Possible are "+join(sim.SettableStatuses)+".")
	}
	return sim.Status(text)
}

func join[T ~string](all []T) string {
	var texts []string
	for _, v := range all {
		texts = append(texts, string(v))
	}
	return strings.Join(texts, ", ")
}

// property reads a name and a value (PR-7).
func (i *issues) property(v *value, pointer string) (p sim.CustomProperty, ok bool) {
	before := i.count
	if !i.object(v, pointer, "name", "value") {
		return p, false
	}
	var named, valued bool
	p.Name, named = i.text(v, pointer, "name", true)
	p.Value, valued = i.text(v, pointer, "value", true)
	if named {
		i.propertyName(p.Name, at(pointer, "name"))
	}
	if valued {
		i.propertyValue(p.Value, at(pointer, "value"))
	}
	return p, i.count == before
}

func (i *issues) propertyName(name, pointer string) {
	if !nameForm(name) {
		i.body(pointer, "invalid_value", "A name has 1 to 64 letters, digits, dots, hyphens and underscores.")
	}
}

func (i *issues) propertyValue(text, pointer string) {
	switch {
	case utf8.RuneCountInString(text) > 256:
		i.body(pointer, "too_long", "At most 256 characters are allowed.")
	case strings.ContainsFunc(text, unicode.IsControl):
		i.body(pointer, "special_character", "Control characters are not allowed.")
	}
}

// maxOps bounds a patch.
const maxOps = 20

// patch reads a JSON Patch or JSON Patch Query (SC-2, SC-3, SC-5).
func (i *issues) patch(v *value, ch *change) {
	if !i.list(v, "") {
		return
	}
	switch n := len(v.items); {
	case n == 0:
		i.body("", "required", "At least one operation is needed.")
		return
	case n > maxOps:
		i.body("", "too_many", "At most 20 operations are allowed.")
		return
	}
	for n := range v.items {
		i.operation(&v.items[n], atItem("", n), ch)
	}
	switch {
	case ch.status != "" && ch.properties != nil:
		i.body("", "invalid_value", mixed)
	case ch.status == "" && ch.properties == nil && i.count == 0:
		i.body("", "required", "A patch must change something, not only test.")
	}
}

// target is what the path of an operation names.
type target struct {
	status   bool
	property string // "" for the whole list
}

// byName is the JSONPath of one custom property.
var byName = regexp.MustCompile(`^customProperty\[\?\(@\.name==(?:'([^']*)'|"([^"]*)")\)\]$`)

// targetOf reads a path: a JSON Pointer, or a JSONPath with or without "$." in
// front.
func targetOf(path string) (t target, ok bool) {
	text, isPointer := strings.CutPrefix(path, "/")
	if !isPointer {
		text = strings.TrimPrefix(path, "$.")
	}
	switch {
	case text == "status":
		return target{status: true}, true
	case text == "customProperty", isPointer && text == "customProperty/-":
		return target{}, true
	case isPointer:
		name, found := strings.CutPrefix(text, "customProperty/")
		name = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
		return target{property: name}, found && nameForm(name)
	}
	m := byName.FindStringSubmatch(text)
	if m == nil {
		return t, false
	}
	return target{property: m[1] + m[2]}, nameForm(m[1] + m[2])
}

// operation reads one operation into the change.
func (i *issues) operation(v *value, pointer string, ch *change) {
	if !i.object(v, pointer, "op", "path", "value") {
		return
	}
	op, opOK := i.text(v, pointer, "op", true)
	path, pathOK := i.text(v, pointer, "path", true)
	if opOK && !contains([]string{"add", "remove", "replace", "test"}, op) {
		i.body(at(pointer, "op"), "invalid_value", "Must be add, remove, replace or test.")
		opOK = false
	}
	t, known := targetOf(path)
	if pathOK && !known {
		i.body(at(pointer, "path"), "invalid_value", "Must be status, customProperty or one custom property.")
	}
	if !opOK || !pathOK || !known {
		return
	}
	with := v.member("value")
	if with == nil && op != "remove" {
		i.body(at(pointer, "value"), "required", "Must be given.")
		return
	}
	if t.status {
		i.statusOperation(op, with, pointer, ch)
	} else {
		i.propertyOperation(op, t, with, pointer, ch)
	}
}

func (i *issues) statusOperation(op string, with *value, pointer string, ch *change) {
	switch op {
	case "replace":
		if ch.status != "" {
			i.body(at(pointer, "path"), "invalid_value", "The status is replaced twice.")
		}
		ch.status = i.status(with, at(pointer, "value"))
	case "test":
		if ch.status != "" || ch.properties != nil {
			i.body(at(pointer, "op"), "invalid_value", "A test must come before the changes.")
		}
		ch.test = i.status(with, at(pointer, "value"))
	default:
		i.body(at(pointer, "op"), "invalid_value", "The status can be replaced and tested.")
	}
}

func (i *issues) propertyOperation(op string, t target, with *value, pointer string, ch *change) {
	done := sim.PropertyOp{Name: t.property}
	pointerV := at(pointer, "value")
	switch {
	case op == "test":
		i.body(at(pointer, "op"), "invalid_value", "Only the status can be tested.")
		return
	case op == "remove" && t.property != "":
		done.Op = sim.RemoveProperty
	case op == "remove":
		i.body(at(pointer, "path"), "invalid_value", "One custom property must be named.")
		return
	case op == "replace" && t.property == "":
		var whole change
		list := value{kind: '{', members: []member{{"customProperty", *with}}}
		before := i.count
		if i.merge(&list, &whole); i.count > before {
			i.move(before, "/customProperty", pointerV)
			return
		}
		done = whole.properties[0]
	case op == "add" && t.property == "":
		p, ok := i.property(with, pointerV)
		if !ok {
			return
		}
		done = sim.PropertyOp{Op: sim.SetProperty, Name: p.Name, Value: p.Value}
	default:
		done.Op = sim.SetProperty
		if op == "replace" {
			done.Op = sim.ReplaceProperty
		}
		done.Value = i.newValue(with, t.property, pointerV)
	}
	ch.properties = append(ch.properties, done)
}

// newValue reads the value of one custom property: a string, or name and value
// as in the list.
func (i *issues) newValue(v *value, name, pointer string) string {
	if v.kind == '{' {
		p, ok := i.property(v, pointer)
		if ok && p.Name != name {
			i.body(at(pointer, "name"), "invalid_value", "Must be the name in the path.")
		}
		return p.Value
	}
	text, ok := i.asText(v, pointer)
	if ok {
		i.propertyValue(text, pointer)
	}
	return text
}

// move replaces the beginning of the pointers of the issues from one on.
func (i *issues) move(first int, from, to string) {
	for n := range i.all {
		if rest, ok := strings.CutPrefix(i.all[n].Pointer, from); ok && n >= first {
			i.all[n].Pointer = to + rest
		}
	}
}
