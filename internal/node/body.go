package node

import (
	"io"
	"net/http"
	"time"
)

// bodyTimeout is what the body of a request may take to arrive, also one that
// nobody reads: net/http reads it before it answers.
const bodyTimeout = time.Minute

// hurry gives the body of a request limit to arrive and returns the request to
// go on with. The deadline is lifted once all of the body is there, or it would
// end a request that waits for a device.
func hurry(w http.ResponseWriter, r *http.Request, limit time.Duration) *http.Request {
	if r.ContentLength == 0 {
		return r
	}
	c := http.NewResponseController(w)
	if c.SetReadDeadline(time.Now().Add(limit)) != nil {
		return r
	}
	// A copy: net/http must find its own body in its own request, or it waits,
	// before it answers, for what a client with Expect: 100-continue holds back.
	r = r.WithContext(r.Context())
	r.Body = &hurriedBody{r.Body, c}
	return r
}

// hurriedBody is a body with a read deadline.
type hurriedBody struct {
	io.ReadCloser
	controller *http.ResponseController
}

// Read implements io.Reader.
func (b *hurriedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.controller.SetReadDeadline(time.Time{})
	}
	return n, err
}
