package dpsapi_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/mqtt"
)

// wire is an answer over HTTP; names of headers are as they came.
type wire struct {
	code   int
	header map[string]string
	body   []byte
}

// head looks a header up without regard to case.
func (w *wire) head(name string) string {
	for n, v := range w.header {
		if strings.EqualFold(n, name) {
			return v
		}
	}
	return ""
}

// exchange sends a request on a connection of its own; header is "Name: value"
// each, and goes out as it is spelled.
func (d *device) exchange(method, target, body string, header ...string) (*wire, error) {
	d.t.Helper()
	nc := d.dial(d.https)
	defer nc.Close()
	header = append(header, "Host: "+d.host, fmt.Sprint("Content-Length: ", len(body)), "Connection: close")
	if _, err := fmt.Fprintf(nc, "%s %s HTTP/1.1\r\n%s\r\n\r\n%s", method, target, strings.Join(header, "\r\n"), body); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(nc)
	if err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	if err != nil {
		return nil, err
	}
	w := &wire{code: resp.StatusCode, header: map[string]string{}}
	head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
	for _, line := range strings.Split(head, "\r\n")[1:] {
		name, value, _ := strings.Cut(line, ": ")
		w.header[name] = value
	}
	w.body, err = io.ReadAll(resp.Body)
	return w, err
}

// mqttTo opens the connection of a transport: TLS, or a WebSocket.
func (d *device) mqttTo(transport, path, token string) *mqttPeer {
	d.t.Helper()
	if strings.HasSuffix(transport, "-ws") {
		return &mqttPeer{t: d.t, d: d, nc: d.socket(path, token)}
	}
	return &mqttPeer{t: d.t, d: d, nc: d.dial(d.mqtts)}
}

// login sends CONNECT and SUBSCRIBE; session-present must be 0.
func (m *mqttPeer) login(p *mqtt.Connect) error {
	m.t.Helper()
	m.send(p)
	got, err := m.tryRead()
	if err != nil {
		return err
	}
	ack, ok := got.(mqtt.Connack)
	if !ok || ack.Present {
		return fmt.Errorf("%+v for CONNACK", got)
	}
	if ack.Code != 0 {
		return &denied{status: 401, text: fmt.Sprint("CONNACK ", ack.Code)}
	}
	m.subscribe("$dps/registrations/res/#", 1, 1)
	return nil
}

// amqpTo opens connection and session.
func (d *device) amqpTo(transport, path string, o amqp.ClientOptions) (*amqpPeer, error) {
	d.t.Helper()
	nc := d.dialAMQP(transport, path)
	p, err := d.tryOpen(nc, o)
	if err != nil {
		return nil, &denied{status: 401, text: err.Error()}
	}
	return p, nil
}

// onto attaches a link; a refusal carries the JSON of an error.
func (p *amqpPeer) onto(links ...*amqp.Link) error {
	p.t.Helper()
	for _, l := range links {
		err := p.session.Attach(within(p.t), l)
		var refusal *amqp.Error
		if errors.As(err, &refusal) {
			return amqpDenied(refusal)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func amqpDenied(refusal *amqp.Error) error {
	_, e, err := decode(0, []byte(refusal.Description))
	if err != nil {
		return err
	}
	if e == nil {
		return fmt.Errorf("%q is no error", refusal.Description)
	}
	return e
}

// request sends a message and reads outcome and answer; the answer has one Data
// section, which is all that C reads.
func (p *amqpPeer) request(m *amqp.Message) (*amqp.Message, *amqp.Error, error) {
	p.t.Helper()
	p.send(m)
	select {
	case st := <-p.outcomes:
		if r, ok := st.(amqp.Rejected); ok && r.Error != nil {
			return nil, r.Error, nil
		}
		if st != (amqp.Accepted{}) {
			return nil, nil, fmt.Errorf("the outcome is %+v", st)
		}
	case <-p.conn.Done():
		return nil, nil, p.conn.Err()
	}
	select {
	case d := <-p.got:
		m, err := amqp.ParseMessage(d.Payload)
		if err == nil && (len(m.Data) != 1 || m.HasValue || len(m.Sequence) > 0) {
			err = fmt.Errorf("the body is not one Data section: %+v", m)
		}
		return m, nil, err
	case <-p.conn.Done():
		return nil, nil, p.conn.Err()
	case <-time.After(patience):
		return nil, nil, errors.New("no answer")
	}
}

func (d *device) dialAMQP(transport, path string) net.Conn {
	d.t.Helper()
	if strings.HasSuffix(transport, "-ws") {
		return d.socket(path, "AMQPWSB10")
	}
	return d.dial(d.amqps)
}
