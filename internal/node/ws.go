package node

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// wsPath is where IoT clients upgrade (device-protocols 0.3), wsReaderPath
// where Event Hubs clients do.
const (
	wsPath       = "/$iothub/websocket"
	wsReaderPath = "/$servicebus/websocket"
)

// wsAMQP is the subprotocol that carries AMQP.
const wsAMQP = "AMQPWSB10"

// Sizes of what goes through a WebSocket (device-protocols 0.3).
const (
	wsReadLimit  = 1 << 20
	wsWriteLimit = 32 << 10
	wsTimeout    = 10 * time.Second
)

// wsBuffers lends the write buffers, so that an idle connection has none.
var wsBuffers sync.Pool

// upgrade answers a WebSocket request that offers one of the protocols, in any
// case, echoing the token as offered; nil after an error, which it answered.
func upgrade(w http.ResponseWriter, r *http.Request, protocols ...string) (nc net.Conn, protocol string) {
	token := ""
	for _, offered := range websocket.Subprotocols(r) {
		for _, p := range protocols {
			if token == "" && strings.EqualFold(offered, p) {
				token, protocol = offered, p
			}
		}
	}
	if token == "" || !websocket.IsWebSocketUpgrade(r) {
		http.Error(w, "A WebSocket upgrade with one of these subprotocols is needed: "+strings.Join(protocols, ", "), http.StatusBadRequest)
		return nil, ""
	}
	u := websocket.Upgrader{HandshakeTimeout: wsTimeout, ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10, WriteBufferPool: &wsBuffers,
		Subprotocols: []string{token}, CheckOrigin: func(*http.Request) bool { return true }}
	ws, err := u.Upgrade(w, r, nil)
	if err != nil {
		return nil, ""
	}
	ws.SetReadLimit(wsReadLimit)
	ws.SetPingHandler(func(text string) error { return pong(ws, text) })
	return &wsConn{ws: ws}, protocol
}

// pong answers a ping. A write that runs out of time breaks TLS for good, so it
// gets as long as a handshake; what ends the connection is its own reading or
// writing.
func pong(ws *websocket.Conn, text string) error {
	err := ws.WriteControl(websocket.PongMessage, []byte(text), time.Now().Add(wsTimeout))
	var late net.Error
	if errors.Is(err, websocket.ErrCloseSent) || errors.As(err, &late) {
		return nil
	}
	return err
}

// wsConn is a WebSocket as a byte stream: messages are concatenated. One
// goroutine reads and one writes.
type wsConn struct {
	ws *websocket.Conn
	// Owned by the reader:
	message io.Reader

	writeBy atomic.Int64 // deadline of writes, Unix nanoseconds; 0 none
}

func (c *wsConn) Read(b []byte) (int, error) {
	for {
		if c.message == nil {
			kind, r, err := c.ws.NextReader()
			if err != nil {
				return 0, wsError(err)
			}
			if kind != websocket.BinaryMessage {
				return 0, errors.New("a text message on a WebSocket that carries binary frames")
			}
			c.message = r
		}
		n, err := c.message.Read(b)
		if err == io.EOF {
			c.message = nil
			if n == 0 {
				continue
			}
			err = nil
		}
		return n, wsError(err)
	}
}

// wsError makes an orderly WebSocket close look like the end of a stream.
func wsError(err error) error {
	if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway) {
		return io.EOF
	}
	return err
}

func (c *wsConn) Write(b []byte) (n int, err error) {
	for n < len(b) {
		part := b[n:min(len(b), n+wsWriteLimit)]
		deadline := time.Time{}
		if by := c.writeBy.Load(); by != 0 {
			deadline = time.Unix(0, by)
		}
		c.ws.SetWriteDeadline(deadline)
		if err := c.ws.WriteMessage(websocket.BinaryMessage, part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// Close says goodbye and closes the socket.
func (c *wsConn) Close() error {
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	c.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second))
	return c.ws.Close()
}

// NetConn returns the connection beneath, for whoever must cut it.
func (c *wsConn) NetConn() net.Conn { return c.ws.NetConn() }

func (c *wsConn) LocalAddr() net.Addr               { return c.ws.LocalAddr() }
func (c *wsConn) RemoteAddr() net.Addr              { return c.ws.RemoteAddr() }
func (c *wsConn) SetReadDeadline(t time.Time) error { return c.ws.SetReadDeadline(t) }

// SetWriteDeadline holds for the write under way, too; the WebSocket's own
// deadline belongs to the goroutine that writes.
func (c *wsConn) SetWriteDeadline(t time.Time) error {
	by := int64(0)
	if !t.IsZero() {
		by = t.UnixNano()
	}
	c.writeBy.Store(by)
	return c.ws.NetConn().SetWriteDeadline(t)
}

func (c *wsConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}
