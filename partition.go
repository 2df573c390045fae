package nave

import (
	"encoding/binary"
	"math/bits"
)

// Partition returns the partition of a device's events among count partitions,
// by the public hash that readers compute as well (service-api 4.6).
func Partition(device string, count int) int {
	logical := logicalPartition(device)
	w := 32767 / count
	r := 32767 - count*w
	if big := (w + 1) * r; logical >= big {
		return r + (logical-big)/w
	}
	return logical / (w + 1)
}

func logicalPartition(device string) int {
	var room [MaxID]byte
	h1, h2 := jenkins(appendUpper(room[:0], device))
	n := int(int16(h1^h2)) % 32767
	return max(n, -n)
}

// appendUpper appends s in upper case; ids are ASCII.
func appendUpper(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

// jenkins is lookup3's hashlittle2 with both seeds zero.
func jenkins(s []byte) (h1, h2 uint32) {
	a := 0xdeadbeef + uint32(len(s))
	b, c := a, a
	rol := bits.RotateLeft32
	word := binary.LittleEndian.Uint32
	for ; len(s) > 12; s = s[12:] {
		a, b, c = a+word(s), b+word(s[4:]), c+word(s[8:])
		a -= c
		a ^= rol(c, 4)
		c += b
		b -= a
		b ^= rol(a, 6)
		a += c
		c -= b
		c ^= rol(b, 8)
		b += a
		a -= c
		a ^= rol(c, 16)
		c += b
		b -= a
		b ^= rol(a, 19)
		a += c
		c -= b
		c ^= rol(b, 4)
		b += a
	}
	if len(s) == 0 {
		return c, b
	}
	a, b, c = a+padded(s, 0), b+padded(s, 4), c+padded(s, 8)
	c ^= b
	c -= rol(b, 14)
	a ^= c
	a -= rol(c, 11)
	b ^= a
	b -= rol(a, 25)
	c ^= b
	c -= rol(b, 16)
	a ^= c
	a -= rol(c, 4)
	b ^= a
	b -= rol(a, 14)
	c ^= b
	c -= rol(b, 24)
	return c, b
}

// padded returns the little-endian word at position at of s, which ends in
// zeroes.
func padded(s []byte, at int) (w uint32) {
	for i := min(len(s), at+4) - 1; i >= at; i-- {
		w = w<<8 | uint32(s[i])
	}
	return w
}
