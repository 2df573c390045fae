package sim

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/nave-hub/nave/internal/store"
)

// offeringOf returns the tariff; one without members when there is none.
func offeringOf(tx *store.Tx, id string) (*Offering, error) {
	o := &Offering{Period: CalendarMonth, OnLimit: Notify, Activation: Immediate}
	if id == "" {
		return o, nil
	}
	row, err := tx.SIMOffering(id)
	if errors.Is(err, store.ErrNone) {
		return o, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(row.Doc), o)
	}
	return o, err
}

// forever ends a period that has no end.
var forever = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)

// span returns the billing period that now is in (PR-11).
func (o *Offering) span(s *store.SIM, now time.Time) (from, to time.Time) {
	now = now.UTC()
	switch o.Period {
	case Rolling24h:
		return now.Add(-24 * time.Hour), now
	case Bucket:
		from = s.Activated
		if from.IsZero() {
			from = s.Added
		}
		return from, forever
	}
	from = time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	return from, from.AddDate(0, 1, 0)
}

// periodEnd returns when PENDING_TERMINATE becomes TERMINATED (RP-5).
func (t *Tenant) periodEnd(tx *store.Tx, s *store.SIM, now time.Time) (time.Time, error) {
	o, err := offeringOf(tx, s.Offering)
	if err != nil {
		return time.Time{}, err
	}
	if o.Period != CalendarMonth && o.Period != "" {
		return now.Add(24 * time.Hour), nil
	}
	_, end := o.span(s, now)
	return end, nil
}

// used returns bytes and short messages of the present billing period.
func (t *Tenant) used(tx *store.Tx, s *store.SIM, o *Offering, now time.Time) (bytes, sms int64, err error) {
	from, _ := o.span(s, now)
	if o.Period == Rolling24h {
		// Whole hours: the one that the 24 h began in counts no more.
		all, err := tx.SIMUsage(s.ID, from.Unix()/3600+1, now.Unix()/3600+1)
		for _, u := range all {
			bytes, sms = bytes+u.Up+u.Down, sms+u.MO+u.MT
		}
		return bytes, sms, err
	}
	if o.Period != Bucket && s.Period.Before(from) {
		return 0, 0, nil
	}
	return s.Used, s.SMS, nil
}

// overLimit says whether the limit of a tariff that suspends is used up (RP-9).
func (t *Tenant) overLimit(tx *store.Tx, s *store.SIM, o *Offering) (bool, error) {
	if o.DataLimit == nil || o.OnLimit != Suspend {
		return false, nil
	}
	used, _, err := t.used(tx, s, o, t.Now())
	return used >= *o.DataLimit, err
}

// consume adds usage to hour and period of a product and applies its limit;
// it writes the product.
func (t *Tenant) consume(tx *store.Tx, s *store.SIM, u store.SIMUsage) error {
	now := t.Now()
	u.Hour = now.Unix() / 3600
	if err := tx.AddSIMUsage(s.ID, u); err != nil {
		return err
	}
	o, err := offeringOf(tx, s.Offering)
	if err != nil {
		return err
	}
	if from, _ := o.span(s, now); o.Period != Rolling24h && o.Period != Bucket && s.Period.Before(from) {
		s.Period, s.Used, s.SMS, s.Noted = from, 0, 0, 0
	}
	s.Used, s.SMS = s.Used+u.Up+u.Down, s.SMS+u.MO+u.MT
	suspend, err := t.threshold(tx, s, o)
	if err != nil {
		return err
	}
	if suspend {
		return t.move(tx, t.account(s.Account), s, Suspended, hubCause(reasonLimit))
	}
	return tx.PutSIM(s)
}

// threshold tells of 80 and 100 percent of the limit, once each, and says
// whether the SIM must be suspended.
func (t *Tenant) threshold(tx *store.Tx, s *store.SIM, o *Offering) (suspend bool, err error) {
	if o.DataLimit == nil {
		return false, nil
	}
	used, _, err := t.used(tx, s, o, t.Now())
	if err != nil {
		return false, err
	}
	reached := 0
	switch limit := *o.DataLimit; {
	case used >= limit:
		reached = 100
	case used >= limit-limit/5:
		reached = 80
	}
	for _, percent := range []int{80, 100} {
		if percent > s.Noted && percent <= reached {
			err = errors.Join(err, t.event(tx, UsageThreshold, s.Device, map[string]any{"productId": s.ID, "percent": percent, "usedBytes": used, "limitBytes": *o.DataLimit}))
		}
	}
	s.Noted = reached
	return reached == 100 && o.OnLimit == Suspend && s.Status == string(Active), err
}
