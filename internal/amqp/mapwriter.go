package amqp

import "strconv"

// MapWriter appends one map section of a message entry by entry, without a Map
// and the values it boxes. Each entry has a method by the type of its value.
type MapWriter struct {
	b       []byte
	mark, n int
}

// OpenMap begins a section whose value is a map behind b; Close ends it.
func OpenMap(b []byte, kind SectionKind) MapWriter {
	b, mark := openCompound(append(b, codeDescribed, codeUlong8, byte(kind)))
	return MapWriter{b: b, mark: mark}
}

// Close returns the longer slice.
func (w *MapWriter) Close() []byte {
	return closeCompound(w.b, w.mark, 2*w.n, codeMap8, codeMap32)
}

// Len returns the number of entries so far.
func (w *MapWriter) Len() int { return w.n }

func (w *MapWriter) symbol(key Symbol) {
	w.b = appendSymbol(w.b, key)
	w.n++
}

// Text adds a string under a symbol.
func (w *MapWriter) Text(key Symbol, v string) {
	w.symbol(key)
	w.b = appendString(w.b, v)
}

// Long adds a long under a symbol.
func (w *MapWriter) Long(key Symbol, v int64) {
	w.symbol(key)
	w.b = appendLong(w.b, v)
}

// Time adds a timestamp under a symbol.
func (w *MapWriter) Time(key Symbol, v Timestamp) {
	w.symbol(key)
	w.b = appendTimestamp(w.b, v)
}

// Digits adds a string with the decimal digits of v under a symbol.
func (w *MapWriter) Digits(key Symbol, v int64) {
	w.symbol(key)
	at := len(w.b)
	w.b = strconv.AppendInt(append(w.b, codeString8, 0), v, 10)
	w.b[at+1] = byte(len(w.b) - at - 2)
}

// Property adds a string under a string, the form of application properties.
func (w *MapWriter) Property(key, v string) {
	w.b = appendString(appendString(w.b, key), v)
	w.n++
}

// Null adds a null under a string.
func (w *MapWriter) Null(key string) {
	w.b = append(appendString(w.b, key), codeNull)
	w.n++
}

// AppendSection appends the properties as a section of a message.
func (p *Properties) AppendSection(b []byte) []byte { return p.append(b) }
