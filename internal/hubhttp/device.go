package hubhttp

import (
	"net/http"
	"strconv"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

var deviceRoutes = []route{
	{"GET", "/devices", listDevices},
	{"GET", "/devices/{d}", readIdentity},
	{"PUT", "/devices/{d}", putDevice},
	{"DELETE", "/devices/{d}", deleteIdentity},
}

func listDevices(c *call) error {
	top := c.hub.Limits().List
	if text, given := c.query["top"]; given {
		n, err := strconv.Atoi(text)
		if err != nil {
			return fault.ArgumentInvalid.New("top is %q, expected is a whole number from 1 to %d", brief(text), top)
		}
		top = n
	}
	list, err := c.backend.Devices(c.r.Context(), "", top)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, appendIdentities(nil, list))
}

func appendIdentities(b []byte, list []*nave.Identity) []byte {
	b = append(b, '[')
	for n, i := range list {
		if n > 0 {
			b = append(b, ',')
		}
		b = i.Append(b)
	}
	return append(b, ']')
}

// readIdentity answers a device, or the module that the path names.
func readIdentity(c *call) error {
	i, err := c.backend.Device(c.r.Context(), c.on)
	if err != nil {
		return err
	}
	return c.entity(http.StatusOK, i.ETag, i.Append(nil))
}

// putDevice answers 200 whether it creates or updates: two clients take
// nothing else (service-api 2.3).
func putDevice(c *call) error {
	i, err := c.putIdentity()
	if err != nil {
		return err
	}
	return c.entity(http.StatusOK, i.ETag, i.Append(nil))
}

// putIdentity writes the identity that the path names: without If-Match it is
// created, with it updated.
func (c *call) putIdentity() (*nave.Identity, error) {
	b, err := c.json()
	if err != nil {
		return nil, err
	}
	p, err := nave.ParseIdentity(b, c.on.IsModule())
	if err != nil {
		return nil, malformed(err)
	}
	return c.backend.Put(c.r.Context(), c.on, p, c.ifMatch())
}

func deleteIdentity(c *call) error {
	if err := c.backend.Delete(c.r.Context(), c.on, c.ifMatch()); err != nil {
		return err
	}
	return c.done()
}
