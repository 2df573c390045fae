package load

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// httpPost is a kept HTTP connection with one request at a time, dialled when it is needed.
type httpPost struct {
	nc  net.Conn
	in  *bufio.Reader
	buf []byte
}

func (h *httpPost) close() {
	if h.nc != nil {
		h.nc.Close()
		h.nc = nil
	}
}

// do sends a request and returns the answer. A connection that the server has closed meanwhile is dialled anew, once.
func (h *httpPost) do(ctx context.Context, t Target, head string, body []byte) (*http.Response, []byte, error) {
	kept := h.nc != nil
	resp, text, err := h.try(ctx, t, head, body)
	if err != nil && kept && ctx.Err() == nil {
		resp, text, err = h.try(ctx, t, head, body)
	}
	return resp, text, err
}

func (h *httpPost) try(ctx context.Context, t Target, head string, body []byte) (*http.Response, []byte, error) {
	if h.nc == nil {
		nc, err := t.Dial(ctx)
		if err != nil {
			return nil, nil, err
		}
		h.nc, h.in = nc, bufio.NewReaderSize(nc, 8<<10)
	}
	nc := h.nc
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	resp, text, err := h.exchange(head, body)
	if !stop() || err != nil || resp.Close {
		h.close()
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return resp, text, err
}

func (h *httpPost) exchange(head string, body []byte) (*http.Response, []byte, error) {
	h.buf = append(append(append(h.buf[:0], head...), "Content-Length: "...), strconv.Itoa(len(body))...)
	h.buf = append(append(h.buf, "\r\n\r\n"...), body...)
	if _, err := h.nc.Write(h.buf); err != nil {
		return nil, nil, err
	}
	resp, err := http.ReadResponse(h.in, nil)
	if err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	resp.Body.Close()
	return resp, text, err
}

// httpExchange is a device that registers over HTTPS (dps 2.3).
type httpExchange struct {
	p         *Provisioner
	id, token string
	body      []byte
}

func (x *httpExchange) register(ctx context.Context, t *turn) (*provisionAnswer, error) {
	return x.call(ctx, t, "PUT", "/register", x.body)
}

func (x *httpExchange) poll(ctx context.Context, t *turn, operation string) (*provisionAnswer, error) {
	return x.call(ctx, t, "GET", "/operations/"+url.PathEscape(operation), nil)
}

func (x *httpExchange) end() {}

func (x *httpExchange) call(ctx context.Context, t *turn, verb, path string, body []byte) (*provisionAnswer, error) {
	var b bytes.Buffer
	b.WriteString(verb + " /" + url.PathEscape(x.p.scope) + "/registrations/" + url.PathEscape(x.id) + path + "?api-version=" + provisionVersion +
		" HTTP/1.1\r\nHost: " + x.p.target.TLS.ServerName + "\r\nUser-Agent: nave\r\n")
	if x.token != "" {
		b.WriteString("Authorization: " + x.token + "\r\n")
	}
	if len(body) > 0 {
		b.WriteString("Content-Type: application/json; charset=utf-8\r\n")
	}
	resp, text, err := t.http.do(ctx, x.p.target, b.String(), body)
	if err != nil {
		return nil, err
	}
	return readProvision(resp.StatusCode, resp.Header.Get("Retry-After"), text)
}
