package sim

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

var offeringForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// check answers SIMValidationFailed with every issue.
func (o *Offering) check(t *Tenant) error {
	var all []Issue
	bad := func(pointer, detail string) {
		all = append(all, Issue{In: "body", Pointer: pointer, Code: "invalid_value", Detail: detail})
	}
	if !offeringForm.MatchString(o.ID) {
		bad("/id", "An id has 1 to 64 letters, digits, '.', '_' and '-'.")
	}
	if n := utf8.RuneCountInString(o.Name); n < 1 || n > 128 {
		bad("/name", "A name has 1 to 128 characters.")
	}
	if a := t.account(o.Account); a == nil || !a.embedded() {
		bad("/account", "Must be an account of the platform inside the hub.")
	}
	if !slices.Contains([]string{CalendarMonth, Rolling24h, Bucket}, o.Period) {
		bad("/billingPeriod", "Must be CALENDAR_MONTH, ROLLING_24H or BUCKET.")
	}
	if o.DataLimit != nil && *o.DataLimit < 1 {
		bad("/dataLimitBytes", "Must be null or at least 1.")
	}
	if o.OnLimit != Notify && o.OnLimit != Suspend {
		bad("/onLimit", "Must be NOTIFY or SUSPEND.")
	}
	if o.Activation != Immediate && o.Activation != FirstUse {
		bad("/activation", "Must be IMMEDIATE or FIRST_USE.")
	}
	return invalid(all)
}

// Offerings returns all tariffs in the order of ids.
func (a *Access) Offerings(ctx context.Context) ([]*Offering, error) {
	if err := a.enter(ctx, "", &opPlatform, 0); err != nil {
		return nil, err
	}
	all := []*Offering{}
	err := a.t.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.SIMOfferings()
		for _, r := range rows {
			if err == nil {
				o := new(Offering)
				err = json.Unmarshal([]byte(r.Doc), o)
				all = append(all, o)
			}
		}
		return err
	})
	return all, known(err, fault.SIMOfferingNotFound, "")
}

// Offering returns a tariff; SIMOfferingNotFound.
func (a *Access) Offering(ctx context.Context, id string) (*Offering, error) {
	if err := a.enter(ctx, "", &opPlatform, 0); err != nil {
		return nil, err
	}
	o := new(Offering)
	err := a.t.db.View(ctx, func(tx *store.Tx) error { return readOffering(tx, id, o) })
	if err != nil {
		return nil, known(err, fault.SIMOfferingNotFound, "No product offering with id %s.", id)
	}
	return o, nil
}

func readOffering(tx *store.Tx, id string, o *Offering) error {
	row, err := tx.SIMOffering(id)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(row.Doc), o)
}

// CreateOffering adds a tariff to a reference account; empty members take
// CALENDAR_MONTH, NOTIFY and IMMEDIATE, an empty id is made. SIMDuplicate.
func (a *Access) CreateOffering(ctx context.Context, o Offering) (*Offering, error) {
	if err := a.enter(ctx, "", &opManage, 0); err != nil {
		return nil, err
	}
	for _, d := range []struct {
		field *string
		value string
	}{{&o.ID, "off-" + newUUID()[:8]}, {&o.Period, CalendarMonth}, {&o.OnLimit, Notify}, {&o.Activation, Immediate}} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	if err := o.check(a.t); err != nil {
		return nil, err
	}
	doc, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	err = a.t.db.Update(ctx, func(tx *store.Tx) error {
		return tx.InsertSIMOffering(&store.SIMOffering{ID: o.ID, Account: o.Account, Doc: string(doc)})
	})
	if errors.Is(err, store.ErrExists) {
		return nil, fault.SIMDuplicate.New("A product offering with id %s exists.", o.ID)
	}
	return &o, known(err, fault.SIMOfferingNotFound, "")
}

// PatchOffering changes a tariff; a new name reaches the products of the tariff
// in the same transaction.
func (a *Access) PatchOffering(ctx context.Context, id string, p OfferingPatch) (*Offering, error) {
	if err := a.enter(ctx, "", &opManage, 0); err != nil {
		return nil, err
	}
	o := new(Offering)
	err := a.t.db.Update(ctx, func(tx *store.Tx) error {
		*o = Offering{}
		if err := readOffering(tx, id, o); err != nil {
			return err
		}
		name := o.Name
		p.apply(o)
		if err := o.check(a.t); err != nil {
			return err
		}
		doc, err := json.Marshal(o)
		if err != nil {
			return err
		}
		if err := tx.PutSIMOffering(&store.SIMOffering{ID: o.ID, Doc: string(doc)}); err != nil || name == o.Name {
			return err
		}
		return tx.RenameSIMOffering(id, o.Name)
	})
	if err != nil {
		return nil, known(err, fault.SIMOfferingNotFound, "No product offering with id %s.", id)
	}
	return o, nil
}

func (p *OfferingPatch) apply(o *Offering) {
	for _, f := range []struct {
		to   *string
		from *string
	}{{&o.Name, p.Name}, {&o.Period, p.Period}, {&o.OnLimit, p.OnLimit}, {&o.Activation, p.Activation}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if p.DataLimit != nil {
		o.DataLimit = p.DataLimit
	}
	if p.NoLimit {
		o.DataLimit = nil
	}
	if p.IMEILock != nil {
		o.IMEILock = *p.IMEILock
	}
}
