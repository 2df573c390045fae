package sim

import (
	"slices"
)

// Query selects products of a list. Values are checked by the surface; nil and
// "" do not limit, several values of one filter mean "or", several filters
// "and" (connectivity-api 8.3).
type Query struct {
	ID             []string
	Status         []Status
	Connectivity   []ConnectivityType
	Platform       []string // references
	Account        []string // relatedParty.name
	Offering       string   // productOffering.name
	ICCID          []string
	IMSI           []string
	MSISDN         []string
	IMEI           []string
	EID            []string
	ICCIDFrom      string // iccid.gte
	ICCIDTo        string // iccid.lte
	Serial         []string
	Device         string
	Linked         *bool
	CustomProperty []CustomProperty // all must match

	Sort   []SortKey // id is always the last
	Paging Paging

	// Complete has the products carry everything, as a single product does.
	Complete bool
}

// SortKey is a member to sort by: id, status, iccid or startDate.
type SortKey struct {
	Name       string
	Descending bool
}

// Paging is a page: Number counts from 1.
type Paging struct {
	Number int
	Size   int
}

func (p Paging) offset() int { return (max(p.Number, 1) - 1) * p.size() }

func (p Paging) size() int {
	if p.Size <= 0 {
		return DefaultPageSize
	}
	return min(p.Size, MaxPageSize)
}

// Sizes of pages (PG-3).
const (
	DefaultPageSize = 10
	MaxPageSize     = 1000
)

// ProductPage is a page of products; Total counts all that match. Errors tell
// of platforms whose last synchronisation failed (LS-6); their instance and
// trace id are the surface's to fill.
type ProductPage struct {
	Products []*Product
	Total    int
	Errors   []*Problem
}

// Matches says whether a product meets the filters of q.
func (q *Query) Matches(p *Product) bool {
	r := p.record
	if r == nil {
		r = &Record{}
	}
	account := ""
	if len(p.RelatedParty) > 0 {
		account = p.RelatedParty[0].Name
	}
	reference, _, _ := Native(p.ID)
	device := ""
	if p.Device != nil {
		device = p.Device.ID
	}
	switch {
	case !oneOf(q.ID, p.ID), !oneOf(q.Status, p.Status), !oneOf(q.Connectivity, p.ConnectivityType), !oneOf(q.Platform, reference),
		!oneOf(q.Account, account), !oneOf(q.ICCID, r.ICCID), !oneOf(q.IMSI, r.IMSI), !oneOf(q.MSISDN, r.MSISDN), !oneOf(q.IMEI, r.IMEI),
		!oneOf(q.EID, r.EID), !oneOf(q.Serial, r.Serial),
		q.Offering != "" && p.ProductOffering.Name != q.Offering,
		q.Device != "" && q.Device != device,
		q.Linked != nil && *q.Linked != (device != ""),
		q.ICCIDFrom != "" && (len(r.ICCID) != len(q.ICCIDFrom) || r.ICCID < q.ICCIDFrom),
		q.ICCIDTo != "" && (len(r.ICCID) != len(q.ICCIDTo) || r.ICCID > q.ICCIDTo):
		return false
	}
	for _, want := range q.CustomProperty {
		card := p.Card()
		if card == nil || !slices.Contains(card.CustomProperty, want) {
			return false
		}
	}
	return true
}

func oneOf[T comparable](all []T, v T) bool { return all == nil || slices.Contains(all, v) }
