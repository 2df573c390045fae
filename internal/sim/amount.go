package sim

import "strconv"

// Amount is a volume: Units is KB of 1,000 bytes, SMS or MIN (PR-12).
type Amount struct {
	Amount Thousandths `json:"amount"`
	Units  string      `json:"units"`
}

// Thousandths is a number with at most three decimals, kept exactly: bytes for
// an amount of KB.
type Thousandths int64

// MarshalJSON returns a JSON number without trailing zeros.
func (n Thousandths) MarshalJSON() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalJSON reads a JSON number, rounded to three decimals.
func (n *Thousandths) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(string(b), 64)
	if f < 0 {
		*n = Thousandths(f*1000 - .5)
	} else {
		*n = Thousandths(f*1000 + .5)
	}
	return err
}

// String returns the decimal number.
func (n Thousandths) String() string {
	b := strconv.AppendInt(nil, int64(n/1000), 10)
	if rest := int64(n % 1000); rest > 0 {
		b = append(b, '.')
		digits := strconv.Itoa(int(1000 + rest))[1:]
		for len(digits) > 0 && digits[len(digits)-1] == '0' {
			digits = digits[:len(digits)-1]
		}
		b = append(b, digits...)
	}
	return string(b)
}
