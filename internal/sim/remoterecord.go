package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nave-hub/nave/internal/store"
)

// farProduct is a product as the platform shows it.
type farProduct struct {
	ID             string           `json:"id"`
	Name           string           `json:"name"`
	Visible        *bool            `json:"isCustomerVisible"`
	Start          Time             `json:"startDate"`
	Status         string           `json:"status"`
	Connectivity   ConnectivityType `json:"connectivityType"`
	Offering       OfferingRef      `json:"productOffering"`
	Characteristic []Characteristic `json:"productCharacteristic"`
	Relationship   []Relationship   `json:"productRelationship"`
}

// product reads a composite; reference is the platform's own. Errors say what
// is wrong with it.
func (r *remote) product(body []byte) (record *Record, reference string, err error) {
	var p farProduct
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, "", fmt.Errorf("the answer is no product")
	}
	return r.record(&p)
}

func (r *remote) record(p *farProduct) (*Record, string, error) {
	reference, native, ok := Native(p.ID)
	switch {
	case !ok || !referenceForm.MatchString(reference) || !nativeForm.MatchString(native):
		return nil, "", fmt.Errorf("the product has no valid id")
	case p.Status == "":
		return nil, "", fmt.Errorf("the product has no status")
	case p.Connectivity != Cellular && p.Connectivity != Satellite:
		return nil, "", fmt.Errorf("the product has no connectivityType")
	}
	out := &Record{NativeID: native, Connectivity: p.Connectivity, Name: p.Name, Visible: p.Visible == nil || *p.Visible, Start: p.Start, Offering: p.Offering}
	out.Status, out.NativeStatus = r.status(p.Status)
	if err := errors.Join(checkText(p.Name), checkText(p.Offering.ID), checkText(p.Offering.Name), out.identify(p.Characteristic)); err != nil {
		return nil, "", err
	}
	if len(p.Relationship) > maxParts {
		return nil, "", fmt.Errorf("the product has more than %d parts", maxParts)
	}
	for _, rel := range p.Relationship {
		if rel.Product == nil {
			return nil, "", fmt.Errorf("a productRelationship has no product")
		}
		if err := out.add(rel.Product, p.ID); err != nil {
			return nil, "", err
		}
	}
	return out, reference, out.settle()
}

// settle fills the identifier that the native id is, and refuses a record that
// names another one.
func (out *Record) settle() error {
	switch {
	case out.Connectivity == Satellite && out.Serial == "":
		out.Serial = out.NativeID
	case out.Connectivity == Cellular && out.ICCID == "" && iccidForm.MatchString(out.NativeID):
		out.ICCID = out.NativeID
	case out.Connectivity == Cellular && out.ICCID != out.NativeID && iccidForm.MatchString(out.ICCID) && iccidForm.MatchString(out.NativeID):
		return fmt.Errorf("the ICCID is that of another product")
	}
	return nil
}

// Limits of what a record may hold.
const (
	maxParts  = 16
	maxValues = 100
	maxValue  = 1024
)

// add takes over a part; product is the id of the composite. Parts of unknown
// types are left out.
func (out *Record) add(p *SubProduct, product string) error {
	owner, suffix := SplitID(p.ID)
	if owner != product || suffix == "" {
		return fmt.Errorf("a part belongs to another product")
	}
	switch p.Type {
	case SIMCard, Terminal, DataConnectivity:
	case UsageVolume:
		if p.UsageType != "DATA" && p.UsageType != "SMS" && p.UsageType != "VOICE" {
			return fmt.Errorf("the usageType of a part is unknown")
		}
	default:
		return nil
	}
	if suffix != p.Suffix() || slices.ContainsFunc(out.Parts, func(have *SubProduct) bool { return have.Suffix() == suffix }) {
		return fmt.Errorf("the parts of the product contradict each other")
	}
	if len(p.ProductCharacteristic) > maxValues || len(p.CustomProperty) > maxValues || len(p.BucketCounter) > maxValues {
		return fmt.Errorf("a part has more than %d values", maxValues)
	}
	for _, c := range p.CustomProperty {
		if err := errors.Join(checkText(c.Name), checkText(c.Value)); err != nil {
			return err
		}
	}
	for _, c := range p.BucketCounter {
		if c.Value.Amount < 0 || checkText(c.ValueName) != nil || checkText(c.CounterType) != nil || checkText(c.Value.Units) != nil {
			return fmt.Errorf("a counter of a part is not valid")
		}
	}
	for _, c := range p.ProductCharacteristic {
		if err := errors.Join(checkText(c.Name), checkText(c.Value)); err != nil {
			return err
		}
	}
	if p.Type == SIMCard || p.Type == Terminal {
		if err := out.identify(p.ProductCharacteristic); err != nil {
			return err
		}
	}
	p.ID, p.Href, p.Status, p.CorrelationID = "", "", "", ""
	out.Parts = append(out.Parts, p)
	return nil
}

// identify takes identifiers out of characteristics.
func (out *Record) identify(all []Characteristic) error {
	if len(all) > maxValues {
		return fmt.Errorf("the product has more than %d characteristics", maxValues)
	}
	for _, c := range all {
		var to *string
		switch c.Name {
		case "ICCID":
			to = &out.ICCID
		case "IMSI":
			to = &out.IMSI
		case "MSISDN":
			to = &out.MSISDN
		case "imei":
			to = &out.IMEI
		case "euiccid":
			to = &out.EID
		case "serialNumber":
			to = &out.Serial
		default:
			continue
		}
		if len(c.Value) > 64 || checkText(c.Value) != nil {
			return fmt.Errorf("the characteristic %s is not valid", c.Name)
		}
		if c.Value != "" {
			*to = c.Value
		}
	}
	return nil
}

func checkText(s string) error {
	if utf8.RuneCountInString(s) > maxValue || strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\t' }) {
		return fmt.Errorf("a text of the answer is too long or holds control characters")
	}
	return nil
}

// status maps the platform's word (HA-8); native is the word when nothing does.
func (r *remote) status(word string) (s Status, native string) {
	if s, ok := r.c.StatusMap[word]; ok && s.Known() {
		return s, ""
	}
	if s := Status(word); s.Known() {
		return s, ""
	}
	if native = r.blank(word, maxWord); r.env.Unmapped != nil {
		r.env.Unmapped(native)
	}
	return Inactive, native
}

// card reads the sub-product that answers a change. The record is partial;
// platforms that show the whole product are understood as well.
func (r *remote) card(body []byte, native string) (*Record, error) {
	var head struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	}
	if err := json.Unmarshal(body, &head); err != nil {
		return nil, fmt.Errorf("the answer is no product")
	}
	product, suffix := SplitID(head.ID)
	reference, is, ok := Native(product)
	if !ok || is != native || !referenceForm.MatchString(reference) {
		return nil, fmt.Errorf("the answer is about another product")
	}
	if suffix == "" {
		record, _, err := r.product(body)
		return record, err
	}
	var part SubProduct
	if err := json.Unmarshal(body, &part); err != nil || part.Type != SIMCard && part.Type != Terminal || head.Status == "" {
		return nil, fmt.Errorf("the answer is no SIM card with a status")
	}
	out := &Record{NativeID: native, Connectivity: Cellular, Visible: true, Partial: true}
	if part.Type == Terminal {
		out.Connectivity = Satellite
	}
	out.Status, out.NativeStatus = r.status(head.Status)
	if err := out.add(&part, product); err != nil {
		return nil, err
	}
	return out, out.settle()
}

// completed returns a partial record with the rest from the one in the store.
func completed(tx *store.Tx, id string, r *Record) (*Record, error) {
	doc, err := tx.SIMRecord(id)
	if errors.Is(err, store.ErrNone) || err == nil && doc == "" {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	var out Record
	if err := json.Unmarshal([]byte(doc), &out); err != nil {
		return nil, fmt.Errorf("record of %s: %w", id, err)
	}
	out.Status, out.NativeStatus = r.Status, r.NativeStatus
	for _, id := range []struct{ to, from *string }{{&out.ICCID, &r.ICCID}, {&out.IMSI, &r.IMSI}, {&out.MSISDN, &r.MSISDN}, {&out.IMEI, &r.IMEI},
		{&out.EID, &r.EID}, {&out.Serial, &r.Serial}} {
		if *id.from != "" {
			*id.to = *id.from
		}
	}
	for _, p := range r.Parts {
		if at := slices.IndexFunc(out.Parts, func(have *SubProduct) bool { return have.Suffix() == p.Suffix() }); at >= 0 {
			out.Parts[at] = p
		} else {
			out.Parts = append(out.Parts, p)
		}
	}
	return &out, nil
}

// farMonitor is a monitor of the platform.
type farMonitor struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Response struct {
		StatusCode int             `json:"statusCode"`
		Body       json.RawMessage `json:"body"`
	} `json:"response"`
}

func parseFarMonitor(body []byte) (*farMonitor, error) {
	m := new(farMonitor)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("the answer is no monitor")
	}
	if m.ID == "" || len(m.ID) > 256 || checkText(m.ID) != nil {
		return nil, fmt.Errorf("the monitor has no valid id")
	}
	if m.State != InProgress && m.State != Completed && m.State != InError {
		return nil, fmt.Errorf("the state of the monitor is unknown")
	}
	return m, nil
}

// checkWords refuses an id that is none and a word that is not allowed.
func checkWords(id, word string, allowed ...string) error {
	if id == "" || len(id) > 256 || checkText(id) != nil || !slices.Contains(allowed, word) {
		return fmt.Errorf("the answer has no valid id and state")
	}
	return nil
}

func (u *UsageEntry) check() error {
	if u.Period.Start.IsZero() || !u.Period.Start.Before(u.Period.End.Time) || min(u.Data.Uplink, u.Data.Downlink, u.Data.Total, u.SMS.MO, u.SMS.MT) < 0 {
		return fmt.Errorf("an entry of the usage is not valid")
	}
	return nil
}

func (s *DataSession) check() error {
	if s.Start.IsZero() || min(s.Uplink, s.Downlink) < 0 {
		return fmt.Errorf("a data session is not valid")
	}
	return errors.Join(checkWords(s.ID, s.State, "OPEN", "CLOSED"), checkText(s.Protocol), checkText(s.IP), checkText(s.APN), checkText(s.RAT), checkText(s.Cause))
}

func (l *Location) check() error {
	off := func(v *float64, most float64) bool { return v != nil && (*v < -most || *v > most) }
	if l.Timestamp.IsZero() || off(l.Latitude, 90) || off(l.Longitude, 180) {
		return fmt.Errorf("the position is not valid")
	}
	return errors.Join(checkText(l.Country), checkText(l.Operator), checkText(l.CellID))
}
