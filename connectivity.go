package nave

import (
	"strings"

	"github.com/nave-hub/nave/internal/fault"
)

// Connectivity is what the SIM that is linked to a device says about it
// (connectivity-api 6.7, LK-4). Its modules follow the device.
type Connectivity struct {
	ProductID string `json:"productId"`
	ICCID     string `json:"iccid,omitempty"`
	IMEI      string `json:"imei,omitempty"`
	Status    string `json:"status,omitempty"`   // of the SIM, such as ACTIVE
	Platform  string `json:"platform,omitempty"` // platform reference
	Barred    bool   `json:"barred,omitempty"`   // the device is treated like a disabled one (RP-6, RP-13)
	Why       string `json:"why,omitempty"`      // when barred: a sentence that names the SIM
}

// Reason returns why the device is barred, a sentence that names the SIM; ""
// when it is not or c is nil.
func (c *Connectivity) Reason() string {
	switch {
	case c == nil || !c.Barred:
		return ""
	case c.Why != "":
		return c.Why
	}
	return "SIM " + c.ProductID + " is " + c.Status
}

// appendConnectivity appends the member connectivity (LK-4): the linked SIM,
// else what the registration wishes; none of both leaves it out.
func (i *Identity) appendConnectivity(b []byte) []byte {
	c := i.Connectivity
	if c == nil {
		if i.WantICCID == "" && i.WantIMEI == "" {
			return b
		}
		c = &Connectivity{ICCID: i.WantICCID, IMEI: i.WantIMEI}
	}
	b = append(member(b, "connectivity"), '{')
	for _, m := range [...]struct{ name, text string }{{"productId", c.ProductID}, {"iccid", c.ICCID}, {"imei", c.IMEI},
		{"status", c.Status}, {"platform", c.Platform}} {
		b = memberIfSet(b, m.name, m.text)
	}
	return append(b, '}')
}

// writeConnectivity takes over what the body of a write wishes.
func (p *IdentityPatch) writeConnectivity(i *Identity) error {
	if p.ICCID != nil {
		if s := *p.ICCID; s != "" && !(strings.HasPrefix(s, "89") && isDigits(s, 18, 22)) {
			return fault.ArgumentInvalid.New("connectivity.iccid is %q, expected are 18 to 22 digits that begin with 89", brief(s))
		}
		i.WantICCID = *p.ICCID
	}
	if p.IMEI != nil {
		if s := *p.IMEI; s != "" && !isDigits(s, 14, 16) {
			return fault.ArgumentInvalid.New("connectivity.imei is %q, expected are 14 to 16 digits", brief(s))
		}
		i.WantIMEI = *p.IMEI
	}
	return nil
}

func isDigits(s string, least, most int) bool {
	for n := range len(s) {
		if s[n] < '0' || s[n] > '9' {
			return false
		}
	}
	return len(s) >= least && len(s) <= most
}
