package amqp

// Message is a decoded message (3.2). Absent sections are nil. The body is Data,
// Sequence or Value; a message whose HasValue is set has an amqp-value section
// even if Value is nil.
type Message struct {
	Header                *Header
	DeliveryAnnotations   Map
	MessageAnnotations    Map
	Properties            *Properties
	ApplicationProperties Map
	Data                  [][]byte
	Sequence              [][]any
	Value                 any
	HasValue              bool
	Footer                Map
}

// ParseMessage decodes b, to which binaries of the result point. Errors match ErrDecode.
func ParseMessage(b []byte) (*Message, error) {
	m := &Message{}
	w := NewSections(b)
	d := decoder{left: maxValues, alias: true}
	for {
		s, ok := w.Next()
		if !ok {
			return m, w.Err()
		}
		d.b = s.Value
		if m.section(&d, s.Kind); d.err == nil && len(d.b) > 0 {
			d.fail(errSize)
		}
		if d.err != nil {
			return nil, d.err
		}
	}
}

// section decodes one section: d holds its value.
func (m *Message) section(d *decoder, kind SectionKind) {
	switch kind {
	case SectionHeader:
		m.Header = &Header{}
		f := d.composite()
		m.Header.parse(&f)
		d.end(&f)
	case SectionProperties:
		m.Properties = &Properties{}
		f := d.composite()
		m.Properties.parse(&f)
		d.end(&f)
	case SectionDeliveryAnnotations:
		m.DeliveryAnnotations = d.mapSection()
	case SectionMessageAnnotations:
		m.MessageAnnotations = d.mapSection()
	case SectionApplicationProperties:
		m.ApplicationProperties = d.mapSection()
	case SectionFooter:
		m.Footer = d.mapSection()
	case SectionData:
		p, ok := Raw(d.b).Bytes()
		if !ok {
			d.fail(errSection)
		}
		d.b = nil
		m.Data = append(m.Data, p)
	case SectionSequence:
		v, ok := d.any(0).([]any)
		if !ok {
			d.fail(errSection)
		}
		m.Sequence = append(m.Sequence, v)
	case SectionValue:
		m.Value, m.HasValue = d.any(0), true
	}
}

// mapSection decodes a map; null counts as an empty one.
func (d *decoder) mapSection() Map {
	switch v := d.any(0).(type) {
	case Map:
		return v
	case nil:
		return Map{}
	}
	d.fail(errSection)
	return nil
}

// Append appends the encoded message. It fails when a value has no AMQP type.
func (m *Message) Append(b []byte) (_ []byte, err error) {
	if m.Header != nil {
		b = m.Header.append(b)
	}
	if b, err = appendSection(b, SectionDeliveryAnnotations, m.DeliveryAnnotations); err != nil {
		return b, err
	}
	if b, err = appendSection(b, SectionMessageAnnotations, m.MessageAnnotations); err != nil {
		return b, err
	}
	if m.Properties != nil {
		b = m.Properties.append(b)
	}
	if b, err = appendSection(b, SectionApplicationProperties, m.ApplicationProperties); err != nil {
		return b, err
	}
	if b, err = m.appendBody(b); err != nil {
		return b, err
	}
	return appendSection(b, SectionFooter, m.Footer)
}

func appendSection(b []byte, kind SectionKind, v Map) ([]byte, error) {
	if v == nil {
		return b, nil
	}
	return appendMap(append(b, codeDescribed, codeUlong8, byte(kind)), v)
}

func (m *Message) appendBody(b []byte) (_ []byte, err error) {
	for _, p := range m.Data {
		b = AppendData(b, p)
	}
	for _, v := range m.Sequence {
		if b, err = appendList(append(b, codeDescribed, codeUlong8, byte(SectionSequence)), v); err != nil {
			return b, err
		}
	}
	if m.Value != nil || m.HasValue {
		b, err = appendAny(append(b, codeDescribed, codeUlong8, byte(SectionValue)), m.Value)
	}
	return b, err
}

// AppendData appends one data section that holds p.
func AppendData(b, p []byte) []byte {
	return appendBinary(append(b, codeDescribed, codeUlong8, byte(SectionData)), p)
}

// Reply returns a message whose correlation-id is m's message-id, of the same
// AMQP type, and whose to is m's reply-to: the answer of a request/response
// node such as $cbs.
func (m *Message) Reply() *Message {
	r := &Message{Properties: &Properties{}}
	if m.Properties != nil {
		r.Properties.CorrelationID = m.Properties.MessageID
		r.Properties.To = m.Properties.ReplyTo
	}
	return r
}
