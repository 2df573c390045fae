package amqp

import "time"

// Options are the settings of one connection; the zero value of a field means its default.
type Options struct {
	ContainerID string        // ours, in OPEN; default "amqp"
	Hostname    string        // in OPEN; sent by clients, servers leave it empty
	Properties  Map           // of our OPEN
	Offered     []Symbol      // offered capabilities of our OPEN
	MaxFrame    uint32        // greatest frame we accept, in bytes; default 65536, at least 512
	ChannelMax  uint16        // greatest channel number of the peer; default 8191
	HandleMax   uint32        // greatest handle of the peer per session; default 262143
	IdleTimeout time.Duration // advertised; after twice this silence the connection is closed; default 240 s

	MinPeerIdle      time.Duration // a peer asking for a shorter idle time-out is refused; default: none is
	HandshakeTimeout time.Duration // from the start to OPEN; default 30 s
	CloseTimeout     time.Duration // waiting for the peer's CLOSE; default 3 s

	IncomingWindow uint32 // transfers per session before we renew; default 5000
	MaxSessions    int    // per connection; default 2048
	MaxLinks       int    // per connection; default 16384
	MaxUnsettled   int    // per connection and direction; default 20000; then the windows stay shut
	MaxBuffer      int    // bytes kept for the peer: links, unfinished and unanswered deliveries; default 32 MiB
	MaxUnsent      int    // bytes waiting for the socket beyond which Send finds no credit; default 1 MiB

	// Mechanisms are offered to peers that begin with SASL, in this order;
	// default MSSBCBS, PLAIN, ANONYMOUS, EXTERNAL, or without SASL only MSSBCBS
	// and ANONYMOUS.
	Mechanisms []string
	// SASL decides about the mechanism and initial response a peer picked; an
	// error refuses it with outcome 1 (auth) and ends the connection. It runs on
	// the read goroutine and may take its time. Default: everybody may.
	SASL func(mechanism string, response []byte) error
	// Exchange is asked in the stead of SASL, for mechanisms of more than one
	// step: it returns what takes the peer's responses, the initial one first, or
	// nil to refuse. It runs on the read goroutine and may take its time, the
	// whole exchange no longer than HandshakeTimeout.
	Exchange func(init SASLInit) Step
}

// DefaultCredit is the credit window of a receiving link that does not set another.
const DefaultCredit = 100

const heartbeatDefault = 2 * time.Minute // when the peer asks for none

// or sets *p to def when it is zero.
func or[T comparable](p *T, def T) {
	var zero T
	if *p == zero {
		*p = def
	}
}

func (o Options) complete() Options {
	or(&o.ContainerID, "amqp")
	or(&o.MaxFrame, 65536)
	o.MaxFrame = max(o.MaxFrame, minMaxFrame)
	or(&o.ChannelMax, 8191)
	or(&o.HandleMax, 262143)
	or(&o.IdleTimeout, 240*time.Second)
	or(&o.HandshakeTimeout, 30*time.Second)
	or(&o.CloseTimeout, 3*time.Second)
	or(&o.IncomingWindow, 5000)
	or(&o.MaxSessions, 2048)
	or(&o.MaxLinks, 16384)
	or(&o.MaxUnsettled, 20000)
	or(&o.MaxBuffer, 32<<20)
	or(&o.MaxUnsent, 1<<20)
	if o.Mechanisms == nil {
		o.Mechanisms = []string{MSSBCBS, Anonymous}
		if o.SASL != nil || o.Exchange != nil {
			o.Mechanisms = []string{MSSBCBS, Plain, Anonymous, External}
		}
	}
	return o
}
