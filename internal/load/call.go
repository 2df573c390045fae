package load

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// Calls says which requests are sent: each client has one under way, over a connection that is kept.
type Calls struct {
	Kind     string // of the result
	Method   string
	Type     string // content type of the bodies, "" for requests without one
	Host     string
	Token    string // bearer token
	Clients  int
	Next     func(client, n int) (path, body string) // of request n of a client
	Want     func(client, n int) string              // what the body of the answer must contain
	Warmup   time.Duration
	Duration time.Duration
	Live     func(Live)
}

// RunCalls sends HTTP requests and counts the answers of status 200 that contain what is wanted.
func RunCalls(ctx context.Context, t Target, o Calls) (*Result, error) {
	next := make([]int, o.Clients)
	l := turns{o.Kind, 1, o.Warmup, o.Duration, o.Live}
	return l.run(ctx, t, o.Clients, func(x *caller, client int) (int64, error) {
		n := next[client]
		next[client]++
		path, body := o.Next(client, n)
		status, err := x.ask(o.Method, path, o.Host, o.Token, o.Type, []byte(body))
		if err != nil {
			return 0, err
		}
		if status != 200 || !bytes.Contains(x.body, []byte(o.Want(client, n))) {
			return 0, fmt.Errorf("the answer is %d %s", status, x.body[:min(len(x.body), 300)])
		}
		return 1, nil
	})
}
