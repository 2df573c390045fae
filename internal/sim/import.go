package sim

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// MaxImport is how many SIMs one import may add (6.9).
const MaxImport = 1000

var (
	importICCID  = regexp.MustCompile(`^89[0-9]{16,20}$`)
	importIMSI   = regexp.MustCompile(`^[0-9]{14,15}$`)
	importMSISDN = regexp.MustCompile(`^[0-9]{5,15}$`)
	importIMEI   = regexp.MustCompile(`^[0-9]{14,16}$`)
	importEID    = regexp.MustCompile(`^[0-9]{32}$`)
)

// issues says what is wrong with an entry of an import.
func (s *SIM) issues(pointer string) (all []Issue) {
	for _, f := range []struct {
		name, value string
		form        *regexp.Regexp
	}{{"iccid", s.ICCID, importICCID}, {"imsi", s.IMSI, importIMSI}, {"msisdn", s.MSISDN, importMSISDN}, {"imei", s.IMEI, importIMEI}, {"eid", s.EID, importEID}} {
		if f.value != "" && !f.form.MatchString(f.value) {
			all = append(all, Issue{In: "body", Pointer: pointer + "/" + f.name, Code: "invalid_value", Detail: "Must match " + f.form.String() + "."})
		}
	}
	return all
}

// Import adds SIMs to a reference account, all or none (6.9, RP-2, RP-3), and
// returns the products as lists show them. SIMDuplicate names the entry.
func (a *Access) Import(ctx context.Context, name string, sims []SIM, o Origin) ([]*Product, error) {
	if err := a.enter(ctx, "", &opImport, len(sims)); err != nil {
		return nil, err
	}
	t := a.t
	acct, err := t.importable(name)
	if err != nil {
		return nil, err
	}
	if len(sims) == 0 || len(sims) > MaxImport {
		issue := Issue{In: "body", Pointer: "/sim", Code: "required", Detail: "At least one SIM must be given."}
		if len(sims) > 0 {
			issue = Issue{In: "body", Pointer: "/sim", Code: "too_many", Detail: fmt.Sprintf("At most %d SIMs can be imported at once.", MaxImport)}
		}
		return nil, invalid([]Issue{issue})
	}
	var rows []*store.SIM
	err = t.db.Update(ctx, func(tx *store.Tx) (err error) {
		rows, err = t.importIn(tx, acct, sims, cause{a.actor, "", o.Correlation})
		return err
	})
	if err != nil {
		return nil, known(err, fault.SIMProductNotFound, "")
	}
	all := make([]*Product, len(rows))
	for i, s := range rows {
		all[i] = head(acct, s)
	}
	return all, nil
}

func (t *Tenant) importable(name string) (*account, error) {
	a := t.account(name)
	switch {
	case a == nil:
		return nil, noPlatform(name)
	case !a.embedded():
		return nil, fault.SIMCapabilityMissing.New("SIMs can be imported into the platform inside the hub only.")
	case !a.Enabled:
		return nil, disabled(a)
	}
	return a, nil
}

// ImportStream adds SIMs to a reference account in batches of MaxImport, each
// batch all or none; progress, unless nil, hears how many are in. The first
// error ends it, with the number of those before the batch.
func (a *Access) ImportStream(ctx context.Context, name string, sims iter.Seq2[SIM, error], progress func(done int)) (int, error) {
	done := 0
	var batch []SIM
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if _, err := a.Import(ctx, name, batch, Origin{}); err != nil {
			return err
		}
		done, batch = done+len(batch), batch[:0]
		if progress != nil {
			progress(done)
		}
		return nil
	}
	for s, err := range sims {
		if err != nil {
			return done, err
		}
		if batch = append(batch, s); len(batch) < MaxImport {
			continue
		}
		if err := flush(); err != nil {
			return done, err
		}
	}
	return done, flush()
}

// importIn adds SIMs in one transaction.
func (t *Tenant) importIn(tx *store.Tx, a *account, sims []SIM, c cause) ([]*store.SIM, error) {
	if err := t.checkImport(tx, a, sims); err != nil {
		return nil, err
	}
	now := t.Now()
	names := map[string]string{}
	rows := make([]*store.SIM, len(sims))
	for i, m := range sims {
		name, ok := names[m.Offering]
		if !ok {
			o, err := offeringOf(tx, m.Offering)
			if err != nil {
				return nil, err
			}
			name, names[m.Offering] = o.Name, o.Name
		}
		s := &store.SIM{Account: a.Account.Account, Connectivity: string(Cellular), ICCID: m.ICCID, IMSI: m.IMSI, MSISDN: m.MSISDN, IMEI: m.IMEI, EID: m.EID,
			Offering: m.Offering, OfferingName: name, Start: now, Added: now, Updated: now, Status: string(Inventory)}
		if a.Embedded.ProvisioningDelay > 0 {
			s.Status, s.Due = string(Created), now.Add(time.Duration(a.Embedded.ProvisioningDelay)*time.Second)
		}
		rows[i] = s
	}
	if err := t.allot(tx, a, rows); err != nil {
		return nil, err
	}
	if err := tx.InsertSIMs(rows); err != nil {
		if errors.Is(err, store.ErrExists) {
			err = fault.SIMDuplicate.New("An ICCID of the import exists already.")
		}
		return nil, err
	}
	for _, s := range rows {
		if err := t.recordBirth(tx, s, c); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// checkImport finds mistakes, and doubles within the import and with what is
// there.
func (t *Tenant) checkImport(tx *store.Tx, a *account, sims []SIM) error {
	var all []Issue
	seen := map[string]bool{}
	offerings := map[string]bool{"": true}
	for i := range sims {
		s, pointer := &sims[i], fmt.Sprintf("/sim/%d", i)
		all = append(all, s.issues(pointer)...)
		if _, known := offerings[s.Offering]; !known {
			row, err := tx.SIMOffering(s.Offering)
			if err != nil && !errors.Is(err, store.ErrNone) {
				return err
			}
			offerings[s.Offering] = err == nil && row.Account == a.Account.Account
		}
		if !offerings[s.Offering] {
			all = append(all, Issue{In: "body", Pointer: pointer + "/offering", Code: "invalid_value", Detail: "The account has no such offering."})
		}
	}
	if err := invalid(all); err != nil {
		return err
	}
	for i := range sims {
		for key, value := range map[string]string{"iccid": sims[i].ICCID, "imsi": sims[i].IMSI} {
			if value == "" {
				continue
			}
			rows, err := tx.SIMsBy(key, value)
			if err != nil {
				return err
			}
			taken := seen[key+value]
			for _, r := range rows {
				taken = taken || r.Account == a.Account.Account || r.ID == a.Platform+"-"+value || key == "imsi" && t.metered(r)
			}
			if taken {
				return fault.SIMDuplicate.New("Entry %d: the %s %s exists already.", i, key, value)
			}
			seen[key+value] = true
		}
	}
	return nil
}

// allot gives ICCID and IMSI to those that have none (RP-2).
func (t *Tenant) allot(tx *store.Tx, a *account, rows []*store.SIM) error {
	for _, s := range rows {
		for s.ICCID == "" {
			no, err := tx.NextSIM("iccid", 1)
			if err != nil {
				return err
			}
			body := fmt.Sprintf("8900101%011d", no)
			s.ICCID = body + string(luhn(body))
			if have, err := tx.SIMsBy("iccid", s.ICCID); err != nil {
				return err
			} else if len(have) > 0 || inUse(rows, s) {
				s.ICCID = ""
			}
		}
		for s.IMSI == "" {
			no, err := tx.NextSIM("imsi", 1)
			if err != nil {
				return err
			}
			s.IMSI = fmt.Sprintf("00101%010d", no)
			if have, err := tx.SIMsBy("imsi", s.IMSI); err != nil {
				return err
			} else if len(have) > 0 || inUse(rows, s) {
				s.IMSI = ""
			}
		}
		s.ID = a.Platform + "-" + s.ICCID
	}
	return nil
}

// inUse says whether another row of the import has the ICCID or IMSI.
func inUse(rows []*store.SIM, s *store.SIM) bool {
	for _, r := range rows {
		if r != s && (s.ICCID != "" && r.ICCID == s.ICCID || s.IMSI != "" && r.IMSI == s.IMSI) {
			return true
		}
	}
	return false
}

// luhn returns the check digit of a row of digits.
func luhn(digits string) byte {
	sum := 0
	for i := range len(digits) {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return byte('0' + (10-sum%10)%10)
}

// recordBirth writes history and event of a new SIM (RP-3).
func (t *Tenant) recordBirth(tx *store.Tx, s *store.SIM, c cause) error {
	h := &store.SIMHistory{Product: s.ID, At: t.Now(), Kind: "STATUS", Becomes: string(Created), Actor: c.actor.Type, ActorID: c.actor.ID,
		Reason: "import", Correlation: c.correlation}
	if err := tx.AddSIMHistory(h); err != nil {
		return err
	}
	if s.Status == string(Inventory) {
		h.Was, h.Becomes, h.Actor, h.ActorID, h.Reason = string(Created), string(Inventory), ByHub, "hub", "provisioned"
		if err := tx.AddSIMHistory(h); err != nil {
			return err
		}
	}
	return t.event(tx, ProductCreated, "", map[string]any{"product": map[string]any{"id": s.ID, "status": s.Status}, "actor": c.actor})
}
