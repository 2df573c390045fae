package mqtt

import "time"

// Options are the limits of a connection; a zero value means the default.
type Options struct {
	MaxPacket      int           // remaining length of one packet, in bytes; default 307,200; checked before anything is allocated
	ConnectTimeout time.Duration // from Accept to the last byte of CONNECT; default 60 s
	KeepAliveCap   time.Duration // longest silence whatever the client asked for, and the one for keep-alive 0; default 1767 s
	MaxUnacked     int           // QoS 1 publishes that wait for their Ack before reading stops; default 1024
	MaxQueue       int           // bytes queued to a peer that does not read before it is closed with ErrSlow; default 1 MiB
	WriteTimeout   time.Duration // for at most 64 KiB, or one larger packet, to leave, and for Close to flush; default 30 s

	// LooseTopics lets '+' and '#' stand in the topic of a PUBLISH and anywhere in a filter. An application needs it whose ids or
	// property values may hold them (device-protocols 2.3 and 2.5); it then matches topics as text.
	LooseTopics bool

	Versions     Version // what a CONNECT may ask for; default V311
	Wildcards    bool    // announced to MQTT 5.0 clients; whether a filter is granted is the application's decision
	TopicAliases uint16  // topic aliases that an MQTT 5.0 client may set; default none
}

func (o Options) withDefaults() Options {
	o.MaxPacket = min(orElse(o.MaxPacket, 300<<10), MaxRemaining)
	o.ConnectTimeout = orElse(o.ConnectTimeout, time.Minute)
	o.KeepAliveCap = orElse(o.KeepAliveCap, 1767*time.Second)
	o.MaxUnacked = orElse(o.MaxUnacked, 1024)
	o.MaxQueue = orElse(o.MaxQueue, 1<<20)
	o.WriteTimeout = orElse(o.WriteTimeout, 30*time.Second)
	if o.Versions == 0 {
		o.Versions = V311
	}
	return o
}

func orElse[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Handler is the application behind one connection. Every method is called from the connection's read goroutine, one after the
// other, in the order of the packets, never before Conn.Start and never after Closed. No lock is held during a call. While a
// method runs nothing is read, so a method that waits is back-pressure for this client, and for nobody else; what it sends with
// Conn.Publish leaves nevertheless. An error from a method closes the connection, after what is queued has been flushed, and is
// the cause that Closed gets. After Conn.Close or Conn.Abort the call in progress, if any, is the last before Closed.
type Handler interface {
	// Publish gets each PUBLISH with QoS 0 or 1; QoS 2 never comes this far. p itself is valid until Publish returns, the memory of
	// p.Topic, p.Payload and p.Properties stays valid and is never reused. For QoS 1 the application completes ack exactly once, from
	// any goroutine, during the call or later; for QoS 0 ack may be left alone. An error closes the connection without PUBACK.
	Publish(p *Publish, ack Ack) error
	// Subscribe answers a SUBSCRIBE with one code per filter, in order: 0, 1, or SubFailure, or a reason code from 0x80 on, which MQTT
	// 3.1.1 turns into SubFailure. QoS 2 may be asked for, never granted.
	Subscribe(subs []Subscription) (codes []byte, err error)
	// Subscribed follows Subscribe once the SUBACK is queued: what is sent from now on arrives behind it [MQTT-3.8.4-1].
	Subscribed(subs []Subscription)
	// Unsubscribe precedes the UNSUBACK, which is sent whether or not the filters were known [MQTT-3.10.4-5].
	Unsubscribe(filters []string) error
	// Acked reports the peer's PUBACK. Nothing checks that id is outstanding.
	Acked(id uint16)
	// Closed is the last call, made once. cause is nil after DISCONNECT; otherwise it is what was given to Conn.Close or Conn.Abort,
	// the error a method returned, a *ReasonError when the client's DISCONNECT of MQTT 5.0 names a reason, or one that errors.Is finds to be ErrProtocol, ErrTooLarge, ErrKeepAlive, ErrSlow, or
	// an error of the network, io.EOF when the peer closed without DISCONNECT.
	Closed(cause error)
}
