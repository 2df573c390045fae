package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nave-hub/nave/internal/store"
)

// show returns the product as the API shows it; complete with its parts.
func (t *Tenant) show(tx *store.Tx, s *store.SIM, complete bool) (*Product, error) {
	a := t.account(s.Account)
	p := head(a, s)
	if !complete {
		return p, nil
	}
	var parts []*SubProduct
	var err error
	if a == nil || a.embedded() {
		parts, err = t.ownParts(tx, s)
	} else {
		parts, err = t.remoteParts(tx, a, s)
	}
	if err != nil {
		return nil, err
	}
	p.ProductCharacteristic = p.ProductCharacteristic[:1]
	for _, part := range parts {
		part.ID, part.BaseType, part.Status = s.ID+"-"+part.Suffix(), "product", Status(s.Status)
		if part.Type == UsageVolume {
			part.Status = ""
		}
		p.ProductRelationship = append(p.ProductRelationship, Relationship{"BUNDLED", part})
	}
	return p, nil
}

// head returns what lists show (LS-2), and the members that need no other row.
func head(a *account, s *store.SIM) *Product {
	party := RelatedParty{ID: "local", Name: s.Account, Role: "customer"}
	if a != nil {
		party.ID = a.AccountID
	}
	reference, _, _ := Native(s.ID)
	p := &Product{ID: s.ID, IsBundle: true, IsCustomerVisible: true, StartDate: At(s.Start), Status: Status(s.Status),
		ConnectivityType: ConnectivityType(s.Connectivity), RelatedParty: []RelatedParty{party},
		ProductOffering: OfferingRef{s.Offering, s.OfferingName}, ProductRelationship: []Relationship{}, BaseType: "product", Type: "IoTConnection"}
	p.ProductCharacteristic = []Characteristic{{"SYSTEM", reference}}
	if p.ConnectivityType == Satellite {
		p.ProductCharacteristic = append(p.ProductCharacteristic, Characteristic{"serialNumber", s.Serial})
	} else {
		p.ProductCharacteristic = append(p.ProductCharacteristic, Characteristic{"ICCID", s.ICCID}, Characteristic{"IMSI", s.IMSI},
			Characteristic{"MSISDN", s.MSISDN}, Characteristic{"imei", s.IMEI})
	}
	if s.Device != "" {
		p.Device = &DeviceRef{s.Device, At(s.Linked)}
	}
	p.record = &Record{ICCID: s.ICCID, IMSI: s.IMSI, MSISDN: s.MSISDN, IMEI: s.IMEI, EID: s.EID, Serial: s.Serial}
	return p
}

// ownParts returns the parts of a SIM of the reference platform.
func (t *Tenant) ownParts(tx *store.Tx, s *store.SIM) ([]*SubProduct, error) {
	custom, err := properties(tx, s.ID)
	if err != nil {
		return nil, err
	}
	card := &SubProduct{Type: SIMCard, CustomProperty: custom, ProductCharacteristic: []Characteristic{
		{"dateActivated", At(s.Activated).String()}, {"dateAdded", At(s.Added).String()}, {"dateUpdated", At(s.Updated).String()},
		{"euiccid", s.EID}, {"globalSimType", ""}, {"ICCID", s.ICCID}, {"imei", s.IMEI}, {"IMSI", s.IMSI}, {"MSISDN", s.MSISDN}, {"simNotes", ""}}}
	data, err := dataPart(tx, s)
	if err != nil {
		return nil, err
	}
	o, err := offeringOf(tx, s.Offering)
	if err != nil {
		return nil, err
	}
	usage, err := t.usagePart(tx, s, o)
	return []*SubProduct{card, data, usage}, err
}

func properties(tx *store.Tx, id string) ([]CustomProperty, error) {
	rows, err := tx.SIMProperties(id)
	all := []CustomProperty{}
	for _, r := range rows {
		all = append(all, CustomProperty{r.Name, r.Value})
	}
	return all, err
}

// apn is the access point of the reference platform.
const apn = "hub.local"

func dataPart(tx *store.Tx, s *store.SIM) (*SubProduct, error) {
	last, _, err := tx.SIMSessions(s.ID, "ALL", time.Time{}, time.Time{}, 0, 1)
	if err != nil {
		return nil, err
	}
	open, err := tx.OpenSIMSessions(s.ID)
	if err != nil {
		return nil, err
	}
	state, ip, connected := "DISCONNECTED", "", ""
	if len(last) > 0 {
		ip, connected = last[0].IP, At(last[0].Began).String()
	}
	if len(open) > 0 {
		state = "CONNECTED"
	}
	return &SubProduct{Type: DataConnectivity, ProductCharacteristic: []Characteristic{{"serviceType", "DATA,SMS"}, {"apn", apn}, {"ipAddress", ip},
		{"ratType", ""}, {"connectionState", state}, {"lastConnected", connected}}}, nil
}

func (t *Tenant) usagePart(tx *store.Tx, s *store.SIM, o *Offering) (*SubProduct, error) {
	now := t.Now()
	used, _, err := t.used(tx, s, o, now)
	if err != nil {
		return nil, err
	}
	from, to := o.span(s, now)
	p := &SubProduct{Type: UsageVolume, UsageType: "DATA", IsShared: new(bool), BucketCounter: []BucketCounter{counter(used, "USED", from, now)}}
	if o.DataLimit != nil {
		p.BucketCounter = append(p.BucketCounter, counter(*o.DataLimit, "LIMIT", from, to))
	}
	return p, nil
}

func counter(bytes int64, kind string, from, to time.Time) BucketCounter {
	return BucketCounter{ValueName: Thousandths(bytes).String() + " KB", Value: Amount{Thousandths(bytes), "KB"},
		Consumption: Period{At(from), At(to)}, CounterType: kind}
}

// remoteParts returns what the platform said last, with the custom properties
// that the hub keeps for it.
func (t *Tenant) remoteParts(tx *store.Tx, a *account, s *store.SIM) ([]*SubProduct, error) {
	doc, err := tx.SIMRecord(s.ID)
	if err != nil && !errors.Is(err, store.ErrNone) {
		return nil, err
	}
	var r Record
	if doc != "" {
		if err := json.Unmarshal([]byte(doc), &r); err != nil {
			return nil, fmt.Errorf("record of %s: %w", s.ID, err)
		}
	}
	if can(a, CanCustomProperty) {
		return r.Parts, nil
	}
	custom, err := properties(tx, s.ID)
	for _, p := range r.Parts {
		if p.Type == SIMCard || p.Type == Terminal {
			p.CustomProperty = custom
		}
	}
	return r.Parts, err
}

// can says whether the account has a capability.
func can(a *account, c Capability) bool {
	for _, have := range a.platform.Describe().Capabilities {
		if have == c {
			return true
		}
	}
	return false
}

// age returns how old an index row is, for the header Age.
func age(now, at time.Time) time.Duration { return max(0, now.Sub(at)).Truncate(time.Second) }

// Seconds returns a duration as whole seconds, for headers.
func Seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
