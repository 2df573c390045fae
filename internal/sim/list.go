package sim

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// List returns a page of products from the index (LS-1 to LS-6). When every
// platform that the query could concern has never been synchronised, it answers
// the failure of the first.
func (a *Access) List(ctx context.Context, q *Query) (*ProductPage, error) {
	if err := a.enter(ctx, "", &opList, 0); err != nil {
		return nil, err
	}
	t := a.t
	page := &ProductPage{Products: []*Product{}}
	var err error
	if page.Errors, err = t.staleness(q); err != nil {
		return nil, err
	}
	err = t.db.View(ctx, func(tx *store.Tx) error {
		rows, total, err := t.find(tx, q)
		if err != nil {
			return err
		}
		page.Total = total
		for _, s := range rows {
			p, err := t.show(tx, s, q.Complete)
			if err != nil {
				return err
			}
			page.Products = append(page.Products, p)
		}
		return nil
	})
	return page, known(err, fault.SIMProductNotFound, "")
}

// staleness tells of platforms whose last synchronisation failed.
func (t *Tenant) staleness(q *Query) ([]*Problem, error) {
	all := t.allAccounts()
	slices.SortFunc(all, func(a, b *account) int { return cmp.Compare(a.Account.Account, b.Account.Account) })
	var problems []*Problem
	var first error
	concerned, never := 0, 0
	for _, a := range all {
		if !oneOf(q.Platform, a.Platform) || !oneOf(q.Account, a.Account.Account) {
			continue
		}
		concerned++
		a.mu.Lock()
		h, e := a.health, a.failed
		a.mu.Unlock()
		if a.embedded() || h.Failed.IsZero() {
			continue
		}
		if e == nil {
			e = &PlatformError{Class: cmp.Or(Class(h.FailureClass), ClassUnknown), Detail: "the last synchronisation failed"}
		}
		err := platformFault(a, e, false)
		if h.Synced.IsZero() {
			never++
			if first == nil {
				first = err
			}
		}
		problems = append(problems, NewProblem(err, t.Now(), "", ""))
	}
	if concerned > 0 && never == concerned {
		return nil, first
	}
	return problems, nil
}

// find returns a page of index rows, and how many match.
func (t *Tenant) find(tx *store.Tx, q *Query) ([]*store.SIM, int, error) {
	offset, limit := q.Paging.offset(), q.Paging.size()
	if key, values := q.narrow(); key != "" {
		return t.findByKey(tx, q, key, values, offset, limit)
	}
	classes, total, all, err := t.classes(tx, q)
	if err != nil || total == 0 {
		return nil, 0, err
	}
	same, ranged := t.sameOrder(classes), q.ICCIDFrom != "" || q.ICCIDTo != ""
	if order, ok := q.classOrder(same); ok && !ranged && q.CustomProperty == nil {
		rows, err := pageOf(tx, classes, all, order, offset, limit)
		return rows, total, err
	}
	f := store.SIMFilter{ICCIDFrom: q.ICCIDFrom, ICCIDTo: q.ICCIDTo}
	if !all {
		for _, c := range classes {
			f.Classes = append(f.Classes, c.No)
		}
	}
	for _, p := range q.CustomProperty {
		f.Properties = append(f.Properties, store.SIMProperty{Name: p.Name, Value: p.Value})
	}
	if !ranged && q.CustomProperty == nil {
		f.Total = total
	}
	return tx.FilterSIMs(f, q.columns(same && ranged), offset, limit)
}

// narrow returns an identifier that the query limits to some values.
func (q *Query) narrow() (string, []string) {
	for _, k := range []struct {
		key    string
		values []string
	}{{"id", q.ID}, {"iccid", q.ICCID}, {"imsi", q.IMSI}, {"msisdn", q.MSISDN}, {"imei", q.IMEI}, {"eid", q.EID}, {"serial", q.Serial}} {
		if k.values != nil {
			return k.key, k.values
		}
	}
	if q.Device != "" {
		return "device", []string{q.Device}
	}
	return "", nil
}

// findByKey looks the values up and applies the other filters to what is found.
func (t *Tenant) findByKey(tx *store.Tx, q *Query, key string, values []string, offset, limit int) (page []*store.SIM, total int, err error) {
	var rows []*store.SIM
	seen := map[string]bool{}
	for _, v := range values {
		some, err := tx.SIMsBy(key, v)
		if err != nil {
			return nil, 0, err
		}
		for _, s := range some {
			if seen[s.ID] {
				continue
			}
			seen[s.ID] = true
			p, err := t.show(tx, s, q.CustomProperty != nil)
			if err != nil {
				return nil, 0, err
			}
			if q.Matches(p) {
				rows = append(rows, s)
			}
		}
	}
	slices.SortFunc(rows, q.compare)
	return rows[min(offset, len(rows)):min(offset+limit, len(rows))], len(rows), nil
}

func (q *Query) compare(a, b *store.SIM) int {
	for _, k := range q.Sort {
		c := 0
		switch k.Name {
		case "id":
			c = strings.Compare(a.ID, b.ID)
		case "status":
			c = strings.Compare(a.Status, b.Status)
		case "iccid":
			c = strings.Compare(a.ICCID, b.ICCID)
		case "startDate":
			c = a.Start.Compare(b.Start)
		}
		if k.Descending {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return strings.Compare(a.ID, b.ID)
}

// columns returns the columns to sort by. With byICCID the order of ids is that
// of ICCIDs, and is taken from them: the index that finds a range has it.
func (q *Query) columns(byICCID bool) (all []store.SIMOrder) {
	ordered := false
	for _, k := range q.Sort {
		name := k.Name
		switch {
		case name == "startDate":
			name = "start"
		case name == "id" && byICCID:
			name = "iccid"
		}
		ordered = ordered || name == "iccid"
		all = append(all, store.SIMOrder{Column: name, Descending: k.Descending})
	}
	if byICCID && !ordered {
		all = append(all, store.SIMOrder{Column: "iccid"})
	}
	return all
}

// classes returns the classes that the query selects, how many products they
// have, and whether these are all products.
func (t *Tenant) classes(tx *store.Tx, q *Query) (some []store.SIMClass, total int, all bool, err error) {
	every, err := tx.SIMClasses()
	all = true
	for _, c := range every {
		if c.Count == 0 {
			continue
		}
		reference := ""
		if a := t.account(c.Account); a != nil {
			reference = a.Platform
		}
		if !oneOf(q.Status, Status(c.Status)) || !oneOf(q.Connectivity, ConnectivityType(c.Connectivity)) || !oneOf(q.Platform, reference) ||
			!oneOf(q.Account, c.Account) || q.Offering != "" && q.Offering != c.Offering || q.Linked != nil && *q.Linked != c.Linked {
			all = false
			continue
		}
		some, total = append(some, c), total+c.Count
	}
	return some, total, all, err
}

// classOrder is an order that follows from classes and ids.
type classOrder struct {
	status, statusDown bool
	down               bool
}

// sameOrder says whether the products of the classes have the same order by
// ICCID as by id: those of one reference platform have.
func (t *Tenant) sameOrder(classes []store.SIMClass) bool {
	reference := ""
	for _, c := range classes {
		a := t.account(c.Account)
		if a == nil || !a.embedded() || reference != "" && a.Platform != reference {
			return false
		}
		reference = a.Platform
	}
	return true
}

func (q *Query) classOrder(iccid bool) (o classOrder, ok bool) {
	for i, k := range q.Sort {
		switch {
		case k.Name == "id" || k.Name == "iccid" && iccid:
			o.down = k.Descending
			return o, true
		case k.Name == "status" && i == 0:
			o.status, o.statusDown = true, k.Descending
		case k.Name == "status":
		default:
			return o, false
		}
	}
	return o, true
}

// pageOf cuts a page out of the products of classes.
func pageOf(tx *store.Tx, classes []store.SIMClass, all bool, o classOrder, offset, limit int) (rows []*store.SIM, err error) {
	if !o.status {
		return tx.SIMPage(numbers(classes, all), o.down, offset, limit)
	}
	groups := map[string][]store.SIMClass{}
	var order []string
	for _, c := range classes {
		if groups[c.Status] == nil {
			order = append(order, c.Status)
		}
		groups[c.Status] = append(groups[c.Status], c)
	}
	slices.Sort(order)
	if o.statusDown {
		slices.Reverse(order)
	}
	for _, status := range order {
		count := 0
		for _, c := range groups[status] {
			count += c.Count
		}
		if offset >= count {
			offset -= count
			continue
		}
		some, err := tx.SIMPage(numbers(groups[status], false), o.down, offset, limit)
		if err != nil {
			return nil, err
		}
		rows, offset, limit = append(rows, some...), 0, limit-len(some)
		if limit <= 0 {
			break
		}
	}
	return rows, nil
}

func numbers(classes []store.SIMClass, all bool) []int64 {
	if all {
		return nil
	}
	n := []int64{}
	for _, c := range classes {
		n = append(n, c.No)
	}
	return n
}

// Find returns the complete products with the identifiers, in the order of
// first mention (LS-10 to LS-12).
func (a *Access) Find(ctx context.Context, r *FindRequest) (*FindResult, error) {
	if err := a.enter(ctx, "", &opList, 0); err != nil {
		return nil, err
	}
	t := a.t
	out := &FindResult{Products: []*Product{}}
	seen := map[string]bool{}
	err := t.db.View(ctx, func(tx *store.Tx) error {
		for _, k := range []struct {
			key, name string
			values    []string
		}{{"id", "id", r.ID}, {"iccid", "iccid", r.ICCID}, {"serial", "terminal serial number", r.Serial}, {"imsi", "imsi", r.IMSI},
			{"msisdn", "msisdn", r.MSISDN}, {"imei", "imei", r.IMEI}, {"eid", "eid", r.EID}, {"device", "device", r.Device}} {
			for _, v := range k.values {
				rows, err := tx.SIMsBy(k.key, v)
				if err != nil {
					return err
				}
				if len(rows) == 0 {
					out.Missing = append(out.Missing, fault.SIMProductNotFound.New("No product with %s %s.", k.name, v))
				}
				for _, s := range rows {
					if seen[s.ID] {
						continue
					}
					seen[s.ID] = true
					p, err := t.show(tx, s, true)
					if err != nil {
						return err
					}
					out.Products = append(out.Products, p)
				}
			}
		}
		return nil
	})
	return out, known(err, fault.SIMProductNotFound, "")
}

// Product returns one product, or with the id of a sub-product also that (LS-8).
// A remote platform is asked at this moment unless o.Cached.
func (a *Access) Product(ctx context.Context, id string, o ReadOptions) (*Reading, error) {
	t := a.t
	product, suffix := SplitID(id)
	if err := a.enter(ctx, "", &opRead, 0); err != nil {
		return nil, err
	}
	r := &Reading{}
	s, acct, err := t.row(ctx, product)
	if err != nil {
		return nil, err
	}
	switch {
	case acct.embedded():
	case o.Cached || !acct.Enabled:
		r.Cached, r.Age = true, age(t.Now(), s.Synced)
	default:
		if err := t.refresh(ctx, acct, product); err != nil {
			return nil, err
		}
	}
	err = t.db.View(ctx, func(tx *store.Tx) error {
		s, err := tx.SIM(product)
		if err != nil {
			return err
		}
		r.Product, err = t.show(tx, s, true)
		return err
	})
	if err != nil {
		return nil, known(err, fault.SIMProductNotFound, "No product with id %s.", product)
	}
	r.Product.CorrelationID = o.Correlation
	if suffix == "" {
		return r, nil
	}
	if r.Part = r.Product.Part(suffix); r.Part == nil {
		if strings.HasPrefix(suffix, UsageVolume) {
			return nil, fault.SIMNoData.New("Product %s has no %s.", product, suffix)
		}
		return nil, fault.SIMProductNotFound.New("Product %s has no part %s.", product, suffix)
	}
	r.Part.CorrelationID = o.Correlation
	return r, nil
}

// row returns the index row of a product and its account.
func (t *Tenant) row(ctx context.Context, product string) (s *store.SIM, a *account, err error) {
	err = t.db.View(ctx, func(tx *store.Tx) (err error) { s, err = tx.SIM(product); return err })
	if err != nil {
		return nil, nil, known(err, fault.SIMProductNotFound, "No product with id %s.", product)
	}
	if a = t.account(s.Account); a == nil {
		return nil, nil, fault.SIMProductNotFound.New("No product with id %s.", product)
	}
	return s, a, nil
}

// bundle is row for operations that need the id of a composite and a
// capability of its platform.
func (t *Tenant) bundle(ctx context.Context, id string, c Capability) (*store.SIM, *account, error) {
	product, suffix := SplitID(id)
	s, a, err := t.row(ctx, product)
	if err != nil {
		return nil, nil, err
	}
	if suffix != "" {
		return nil, nil, fault.SIMNotABundle.New("%s is a part of a product, ask for %s.", id, product)
	}
	if c == "" {
		return s, a, nil
	}
	if !can(a, c) {
		return nil, nil, fault.SIMCapabilityMissing.New("Platform %s has no %s.", a.Platform, c)
	}
	if !a.Enabled {
		return nil, nil, disabled(a)
	}
	return s, a, nil
}

func disabled(a *account) error {
	return fault.SIMPlatformDisabled.New("The platform account %s is switched off.", a.Account.Account)
}

// bound is how long a change may take after its caller has gone.
const bound = 2 * time.Minute
