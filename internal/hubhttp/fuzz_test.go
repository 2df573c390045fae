package hubhttp_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hubhttp"
)

// known holds that an error is one for the client: 400 with a code of its own.
func known(t *testing.T, err error) {
	t.Helper()
	var e *fault.Error
	if err != nil && (!errors.As(err, &e) || e.Code.HTTP != 400) {
		t.Fatalf("error %v", err)
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"/devices/d1", "/devices/a%2Bb/modules/%24edgeAgent/", "/", "", "//", "/devices/%", "/DEVICES/..", "/twins/%C3/methods",
		"/messages/serviceBound/feedback/x/abandon", "/jobs/v2/query"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		segments, err := hubhttp.Split(path)
		known(t, err)
		if err != nil {
			return
		}
		again, err := hubhttp.Split(hubhttp.Join(segments, url.PathEscape))
		if err != nil || !slices.Equal(segments, again) && segments[len(segments)-1] != "" {
			t.Fatalf("%q: %q, then %q, %v", path, segments, again, err)
		}
		if u, err := url.ParseRequestURI(path); err == nil {
			for _, verb := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
				hubhttp.RouteOf(&http.Request{Method: verb, URL: u, Header: http.Header{}})
			}
		}
		hubhttp.Parameters(path)
	})
}

func FuzzBatch(f *testing.F) {
	for _, s := range []string{`[{"body":"aGVsbG8=","base64Encoded":true,"properties":{"iothub-messageid":"1","iothub-app-k":"v"}}]`,
		`[{"body":"x","base64Encoded":false}]`, `[]`, `[{}]`, `[{"body":"","properties":{"iothub-expiry":"2020-01-01","iothub-ack":"full"}}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		batch, err := hubhttp.ParseBatch(b)
		known(t, err)
		if err == nil && len(batch) == 0 {
			t.Fatal("an empty batch passed")
		}
		for _, m := range batch {
			if m.Size() > len(b)+64*len(batch) {
				t.Fatalf("%d bytes became a message of %d", len(b), m.Size())
			}
		}
	})
}

func FuzzBulk(f *testing.F) {
	for _, s := range []string{`[{"id":"d1","importMode":"create","tags":{"a":1}}]`, `[{"id":1,"moduleId":"m","eTag":"\"x\"","twinETag":"*"}]`,
		`{"policyKey":"both","devices":[{"id":"d1","moduleId":null}]}`, `[]`, `[{"id":"d","authentication":{"symmetricKey":{"primaryKey":7}}}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		items, err := hubhttp.ParseBulk(b)
		known(t, err)
		for _, i := range items {
			if i.ID.Device == "" || i.Mode == "" || i.Patch == nil {
				t.Fatalf("entry %+v", i)
			}
		}
		known(t, hubhttp.ParseKeys(b))
	})
}

func FuzzMethodBody(f *testing.F) {
	for _, s := range []string{`{"methodName":"m","payload":{"a":1},"responseTimeoutInSeconds":30,"connectTimeoutInSeconds":0}`, `{"methodName":null,"payload":null}`,
		`{"responseTimeoutInSeconds":1e400}`, `{"connectTimeoutInSeconds":-0}`, `[]`, `{`, `{"payload":"\ud800"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := hubhttp.ParseMethod(b)
		known(t, err)
		if err == nil && (len(c.Payload) > len(b) || c.Timeout < 0 || c.Connect < 0) {
			t.Fatalf("call %+v", c)
		}
	})
}
