package cred

import "bytes"

// MaxSegment is the longest segment in bytes, control byte included: a SASL frame of 512 bytes has room for it (dps 2.9.3).
const MaxSegment = 470

// The control byte before each text of the SASL mechanism TPM: flags and a sequence number (dps 2.9.3).
const (
	segmented      = 0x80
	lastSegment    = 0x40
	segmentCount   = 0x3f
	maxReassembled = 4 << 10
	twoSegments    = 2 * (MaxSegment - 1)
)

// Segments cuts blob into the texts of SASL challenges or responses, each of at most MaxSegment bytes: control bytes 0x80, 0x81
// and so on, and 0xC0 + n for the last. Java's client needs exactly two, so a blob may have 938 bytes for it, and one that fits
// into one segment is halved. Errors are ProblemMissing for an empty blob and ProblemMalformed for one that needs more than 64.
func Segments(blob []byte) ([][]byte, error) {
	const room = MaxSegment - 1
	if len(blob) == 0 {
		return nil, refuse(ProblemMissing, "there is nothing to cut into segments")
	}
	if len(blob) > room*(segmentCount+1) {
		return nil, refuse(ProblemMalformed, "%d bytes do not fit into %d segments", len(blob), segmentCount+1)
	}
	size := room
	if len(blob) <= room {
		size = (len(blob) + 1) / 2
	}
	var all [][]byte
	for len(blob) > 0 {
		n := min(size, len(blob))
		control := byte(segmented | len(all))
		if n == len(blob) {
			control |= lastSegment
		}
		all = append(all, append([]byte{control}, blob[:n]...))
		blob = blob[n:]
	}
	return all, nil
}

// Reassembly puts the texts of a client together again; the zero value is ready. Owned by one goroutine.
type Reassembly struct {
	data []byte
	next int
	done bool
}

// Add takes the next text: the control byte 0x00 and all of the data, or one of its segments. last reports that the data is
// complete. Errors are ProblemMissing for no bytes, ProblemMalformed for a control byte out of turn and for more than 4096 bytes.
func (r *Reassembly) Add(segment []byte) (last bool, err error) {
	if len(segment) == 0 {
		return false, refuse(ProblemMissing, "a segment without control byte")
	}
	control, data := segment[0], segment[1:]
	switch {
	case r.done:
		return false, refuse(ProblemMalformed, "a segment behind the last one")
	case control == 0 && r.next == 0:
		last = true
	case control&segmented == 0 || int(control&segmentCount) != r.next:
		return false, refuse(ProblemMalformed, "control byte 0x%02x where segment %d was expected", control, r.next)
	default:
		last = control&lastSegment != 0
	}
	if len(r.data)+len(data) > maxReassembled {
		return false, refuse(ProblemMalformed, "the segments hold more than %d bytes", maxReassembled)
	}
	if !last && r.next == segmentCount {
		return false, refuse(ProblemMalformed, "more than %d segments", segmentCount+1)
	}
	r.data = append(r.data, data...)
	r.next++
	r.done = last
	return last, nil
}

// Data returns what Add put together; it is complete once Add has reported last.
func (r *Reassembly) Data() []byte { return r.data }

// Reset makes r ready for the next data.
func (r *Reassembly) Reset() { *r = Reassembly{} }

// ParseTPMInit splits what a client begins the mechanism TPM with, put together and without control byte: id scope, registration
// id and binary endorsement key, a NUL between them (dps 2.9.3). Nothing about the parts is checked but that they are there;
// the error is ProblemMalformed.
func ParseTPMInit(b []byte) (scope, registration string, ek []byte, err error) {
	first, rest, ok := bytes.Cut(b, []byte{0})
	second, ek, more := bytes.Cut(rest, []byte{0})
	if !ok || !more || len(first) == 0 || len(second) == 0 || len(ek) == 0 || len(first) > 256 || len(second) > 256 {
		return "", "", nil, refuse(ProblemMalformed, "the TPM mechanism's first text is not id scope, registration id and endorsement key")
	}
	return string(first), string(second), ek, nil
}

// AppendTPMInit appends what ParseTPMInit reads.
func AppendTPMInit(b []byte, scope, registration string, ek []byte) []byte {
	b = append(append(b, scope...), 0)
	b = append(append(b, registration...), 0)
	return append(b, ek...)
}
