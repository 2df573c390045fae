package sim

import "strings"

// ConnectivityType says how a product reaches the network.
type ConnectivityType string

// The connectivity types.
const (
	Cellular  ConnectivityType = "CELLULAR"
	Satellite ConnectivityType = "SATELLITE"
)

// Product is an IoT connection product (connectivity-api PR-3). Lists leave
// ProductRelationship and CorrelationID empty unless they were asked for.
type Product struct {
	ID                    string           `json:"id"`
	Href                  string           `json:"href"`
	Name                  string           `json:"name"`
	IsBundle              bool             `json:"isBundle"`
	IsCustomerVisible     bool             `json:"isCustomerVisible"`
	StartDate             Time             `json:"startDate,omitzero"`
	Status                Status           `json:"status"`
	ConnectivityType      ConnectivityType `json:"connectivityType"`
	RelatedParty          []RelatedParty   `json:"relatedParty"`
	ProductOffering       OfferingRef      `json:"productOffering"`
	ProductCharacteristic []Characteristic `json:"productCharacteristic"`
	ProductRelationship   []Relationship   `json:"productRelationship"`
	Device                *DeviceRef       `json:"device"`
	BaseType              string           `json:"@baseType"`
	Type                  string           `json:"@type"`
	CorrelationID         string           `json:"correlationId,omitempty"`

	record *Record // identifiers, for Query.Matches
}

// RelatedParty is the account a product belongs to: ID at the platform, Name
// in the hub.
type RelatedParty struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Role string `json:"role"`
}

// OfferingRef names a tariff; empty members are unknown.
type OfferingRef struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name"`
}

// Characteristic is a name and its value, "" when unknown (PR-6).
type Characteristic struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// CustomProperty is a name and value that an application has set (PR-7).
type CustomProperty struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Relationship ties a sub-product to its composite; Type is BUNDLED.
type Relationship struct {
	Type    string      `json:"type"`
	Product *SubProduct `json:"product"`
}

// DeviceRef is the linked device (PR-8).
type DeviceRef struct {
	ID       string `json:"id"`
	LinkedAt Time   `json:"linkedAt"`
}

// Values of SubProduct.Type.
const (
	SIMCard          = "simCard"
	Terminal         = "terminal"
	DataConnectivity = "dataConnectivity"
	UsageVolume      = "usageVolume"
)

// SubProduct is a part of a product: Type is simCard, terminal,
// dataConnectivity or usageVolume (PR-1).
type SubProduct struct {
	ID                    string           `json:"id"`
	Href                  string           `json:"href"`
	IsShared              *bool            `json:"isShared,omitempty"`
	IsBundle              bool             `json:"isBundle"`
	Status                Status           `json:"status,omitempty"`
	UsageType             string           `json:"usageType,omitempty"` // DATA, SMS, VOICE
	ProductCharacteristic []Characteristic `json:"productCharacteristic,omitempty"`
	CustomProperty        []CustomProperty `json:"customProperty,omitzero"`
	BucketCounter         []BucketCounter  `json:"bucketCounter,omitempty"`
	BaseType              string           `json:"@baseType"`
	Type                  string           `json:"@type"`
	CorrelationID         string           `json:"correlationId,omitempty"`
}

// BucketCounter is a volume: CounterType is USED or LIMIT (PR-12).
type BucketCounter struct {
	ValueName   string `json:"valueName"`
	Value       Amount `json:"value"`
	Consumption Period `json:"consumptionPeriod"`
	CounterType string `json:"counterType"`
}

// Suffix returns what the sub-product's id has behind that of its composite.
func (p *SubProduct) Suffix() string {
	if p.Type == UsageVolume {
		return UsageVolume + "-" + strings.ToLower(p.UsageType)
	}
	return p.Type
}

// suffixes are those of sub-product ids, the longer before the shorter.
var suffixes = []string{UsageVolume + "-voice", UsageVolume + "-data", UsageVolume + "-sms", DataConnectivity, Terminal, SIMCard}

// SplitID cuts an id into that of the composite and the suffix of the
// sub-product, "" for a composite (ID-3).
func SplitID(id string) (product, suffix string) {
	for _, s := range suffixes {
		if rest, ok := strings.CutSuffix(id, "-"+s); ok && strings.Contains(rest, "-") {
			return rest, s
		}
	}
	return id, ""
}

// Native cuts a product id into platform reference and native id; ok is false
// when it has no reference.
func Native(product string) (reference, native string, ok bool) { return strings.Cut(product, "-") }

// WithBase fills every href below base, the URL of the tenant's API, and
// returns p.
func (p *Product) WithBase(base string) *Product {
	p.Href = base + "/product/" + p.ID
	for _, r := range p.ProductRelationship {
		r.Product.WithBase(base)
	}
	return p
}

// WithBase fills the href below base and returns p.
func (p *SubProduct) WithBase(base string) *SubProduct {
	p.Href = base + "/product/" + p.ID
	return p
}

// Part returns the sub-product with the suffix, or nil.
func (p *Product) Part(suffix string) *SubProduct {
	for _, r := range p.ProductRelationship {
		if r.Product.Suffix() == suffix {
			return r.Product
		}
	}
	return nil
}

// Card returns the SIM card or terminal, or nil in a list.
func (p *Product) Card() *SubProduct {
	if c := p.Part(SIMCard); c != nil {
		return c
	}
	return p.Part(Terminal)
}
