package amqp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

var errSteps = errors.New("too many steps")

func (c *Conn) sendSASL(body func(b []byte) []byte) {
	b, mark := openFrameHeader(nil, frameSASL, 0)
	c.send(closeFrame(body(b), mark))
}

// readSASL reads one SASL frame; parse takes its fields and reports whether the
// performative is one that may come now.
func (c *Conn) readSASL(parse func(desc uint64, f *fields) bool) error {
	f, err := c.in.frame(maxSASLFrame)
	if err != nil {
		return fmt.Errorf("%w: SASL: %w", ErrHandshake, err)
	}
	d := newDecoder(f.body)
	desc, fs := performative(&d)
	if d.err == nil && (f.kind != frameSASL || !parse(desc, &fs)) {
		d.fail(unknownPerformative(desc))
	}
	if err := d.end(&fs); err != nil {
		return fmt.Errorf("%w: SASL: %w", ErrHandshake, err)
	}
	return nil
}

// readText reads a challenge or a response; the result is a copy.
func (c *Conn) readText(want uint64) (text []byte, err error) {
	err = c.readSASL(func(desc uint64, f *fields) bool {
		if desc == want {
			p, _ := f.bytes(codeBinary8)
			text = bytes.Clone(p)
		}
		return desc == want
	})
	return text, err
}

// acceptSASL is the server's side of the SASL layer (5.3).
func (c *Conn) acceptSASL() error {
	c.send(protocolHeader(protoSASL))
	c.sendSASL(func(b []byte) []byte { return appendMechanisms(b, c.o.Mechanisms) })
	var init saslInit
	err := c.readSASL(func(desc uint64, f *fields) bool {
		if desc == descInit {
			init.parse(f)
		}
		return desc == descInit
	})
	if err != nil {
		return err
	}
	code, err := c.judge(SASLInit{string(init.mechanism), bytes.Clone(init.response), init.hostname})
	if errors.Is(err, ErrHandshake) {
		return err // the peer did not keep to the protocol or is gone
	}
	c.sendSASL(func(b []byte) []byte { return appendOutcome(b, code) })
	if err != nil {
		return fmt.Errorf("%w: SASL: %w", ErrHandshake, err)
	}
	return nil
}

// judge lets the application decide and returns the outcome.
func (c *Conn) judge(init SASLInit) (code uint8, err error) {
	switch {
	case !slices.Contains(c.o.Mechanisms, init.Mechanism):
		return saslAuth, fmt.Errorf("mechanism %q is not offered", clip(init.Mechanism, 32))
	case c.o.Exchange != nil:
		return c.exchange(init)
	case c.o.SASL != nil:
		if err := c.o.SASL(init.Mechanism, init.Response); err != nil {
			return saslAuth, err
		}
	}
	return saslOK, nil
}

func (c *Conn) exchange(init SASLInit) (code uint8, err error) {
	step := c.o.Exchange(init)
	if step == nil {
		return saslAuth, fmt.Errorf("mechanism %q is refused", clip(init.Mechanism, 32))
	}
	text := init.Response
	for range maxChallenges + 1 {
		answer, err := step(text)
		switch {
		case err != nil:
			return saslAuth, err
		case answer == nil:
			return saslOK, nil
		case len(answer) > MaxChallenge:
			return saslSys, fmt.Errorf("a challenge of %d bytes; %d fit into a frame", len(answer), MaxChallenge)
		}
		c.sendSASL(func(b []byte) []byte { return appendText(b, descChallenge, answer) })
		if text, err = c.readText(descResponse); err != nil {
			return saslSys, err
		}
	}
	return saslAuth, errSteps
}

// offerSASL is the client's side of the SASL layer (5.3).
func (c *Conn) offerSASL() error {
	c.send(protocolHeader(protoSASL))
	if err := c.expectHeader(protoSASL); err != nil {
		return err
	}
	err := c.readSASL(func(desc uint64, f *fields) bool { f.symbols(); return desc == descMechanisms })
	if err != nil {
		return err
	}
	init := saslInit{mechanism: Symbol(c.client.Mechanism), response: c.client.Response, hostname: c.client.SASLHostname}
	or(&init.hostname, c.o.Hostname)
	c.sendSASL(init.append)
	for range maxChallenges + 1 {
		done, err := c.answer()
		if done || err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: SASL: %w", ErrHandshake, errSteps)
}

// answer reads one frame of the server and answers it, if it is a challenge.
func (c *Conn) answer() (done bool, err error) {
	code, challenge := byte(saslAuth), []byte(nil)
	err = c.readSASL(func(desc uint64, f *fields) bool {
		switch desc {
		case descOutcome:
			code, done = f.ubyte(saslAuth), true
		case descChallenge:
			p, _ := f.bytes(codeBinary8)
			challenge = bytes.Clone(p)
		default:
			return false
		}
		return true
	})
	switch {
	case err != nil:
		return true, err
	case done && code != saslOK:
		return true, fmt.Errorf("%w: SASL outcome %d", ErrHandshake, code)
	case done:
		return true, nil
	case c.client.Step == nil:
		return true, fmt.Errorf("%w: SASL: a challenge nobody answers", ErrHandshake)
	}
	response, err := c.client.Step(challenge)
	if err != nil {
		return true, fmt.Errorf("%w: SASL: %w", ErrHandshake, err)
	}
	c.sendSASL(func(b []byte) []byte { return appendText(b, descResponse, response) })
	return false, nil
}
