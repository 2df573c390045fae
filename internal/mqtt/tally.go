package mqtt

import "net"

// Tally hears how many bytes pass a connection; its methods must not block.
type Tally interface {
	Received(n int)
	Sent(n int)
}

// Counted is a connection that only counts what passes. The engine uses the one beneath, which may have short cuts, and tells the
// tally itself.
type Counted interface {
	Counted() (beneath net.Conn, t Tally)
}

// uncounted returns the connection to use, and the tally, nil when nobody counts.
func uncounted(nc net.Conn) (net.Conn, Tally) {
	if c, ok := nc.(Counted); ok {
		return c.Counted()
	}
	return nc, nil
}
