package simapi_test

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/hub"
)

const internal = "Internal Server Error"

// external checks the first entry of externalErrors.
func (a *answer) external(class string, status any) *answer {
	a.x.Helper()
	return a.is("externalErrors.0.class", class).is("externalErrors.0.status", status).is("externalErrors.0.account", "REMOTE_1").is("externalErrors.0.platform", "RMT")
}

// events counts the events of a type in acme's log.
func (x *row) events(kind string) (n int) {
	x.Helper()
	op := x.hubs["acme"].Backend(hub.Operator())
	for p := range x.hubs["acme"].Partitions() {
		ctx, cancel := context.WithTimeout(x.Context(), patience)
		defer cancel()
		info, err := op.PartitionInfo(ctx, p)
		if err != nil {
			x.Fatal(err)
		}
		r, err := op.Events(ctx, p, nave.Position{})
		if err != nil {
			x.Fatal(err)
		}
		defer r.Close()
		for last := int64(-1); last < info.Last; {
			some, err := r.Next(ctx)
			if err != nil {
				x.Fatal(err)
			}
			for _, e := range some {
				var body struct {
					Type string `json:"eventType"`
				}
				if last = e.Seq; json.Unmarshal(e.Body, &body) == nil && body.Type == kind {
					n++
				}
			}
		}
	}
	return n
}

// later is until for monitors whose platform is asked over the network.
func (x *row) later(href, state string) (a *answer) {
	x.Helper()
	path := strings.TrimPrefix(href, "https://"+host)
	x.eventually(func() bool {
		x.move(x, x.now().Add(2*time.Second))
		a = x.get(path).want(200)
		return a.get("state") == state
	})
	return a
}

func (x *row) eventually(ok func() bool) {
	x.Helper()
	end := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(end) {
			x.Fatal("it did not come")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
