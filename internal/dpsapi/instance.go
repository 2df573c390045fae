package dpsapi

import (
	"strings"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// managed is what paths of management tools begin with (dps 3.10, 3.11).
const managed = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Devices/provisioningServices/{dps}"

// instanceRoutes are the instance itself and its policies (dps 3.11).
var instanceRoutes = []route{
	{"GET", "/settings", dps.ServiceConfig, (*call).showInstance},
	{"PUT", "/settings", dps.ServiceConfig, (*call).putInstance},
	{"POST", "/listkeys", dps.ServiceConfig, (*call).listKeys},
	{"GET", managed, dps.ServiceConfig, (*call).showManaged},
	{"PUT", managed, dps.ServiceConfig, (*call).putManaged},
	{"POST", managed + "/listkeys", dps.ServiceConfig, (*call).listKeys},
	{"POST", managed + "/keys/{name}/listkeys", dps.ServiceConfig, (*call).showKeys},
}

func (c *call) showInstance() error {
	return tagged(c, func(i *dps.Instance) string { return i.ETag })(c.access.Instance(c.r.Context()))
}

func (c *call) putInstance() error {
	return tagged(c, func(i *dps.Instance) string { return i.ETag })(c.replaceInstance())
}

// replaceInstance takes the body in either form.
func (c *call) replaceInstance() (*dps.Instance, error) {
	b, err := c.body()
	if err != nil {
		return nil, err
	}
	i, err := dps.ParseInstance(b)
	if err != nil {
		return nil, err
	}
	return c.access.PutInstance(c.r.Context(), i, c.match())
}

// managedInstance is an instance as management tools read it.
type managedInstance struct {
	ID         string        `json:"id"`
	Name       string        `json:"name"`
	Type       string        `json:"type"`
	ETag       string        `json:"etag"`
	Properties *dps.Instance `json:"properties"`
	SKU        dps.SKU       `json:"sku"`
}

func (c *call) showManaged() error { return c.asManaged(c.access.Instance(c.r.Context())) }

func (c *call) putManaged() error { return c.asManaged(c.replaceInstance()) }

// asManaged answers an instance as management tools read it.
func (c *call) asManaged(i *dps.Instance, err error) error {
	if err != nil {
		return err
	}
	tag := i.ETag
	i.ETag = ""
	return c.reply(managedInstance{c.path(), c.args[2], "Microsoft.Devices/provisioningServices", tag, i, i.SKU}, tag)
}

// path returns the decoded path of the request.
func (c *call) path() string { return "/" + strings.Join(c.segments, "/") }

func (c *call) listKeys() error {
	all, err := c.access.PolicyKeys(c.r.Context())
	if err != nil {
		return err
	}
	return c.reply(map[string]any{"value": all}, "")
}

func (c *call) showKeys() error {
	all, err := c.access.PolicyKeys(c.r.Context())
	if err != nil {
		return err
	}
	name := c.args[len(c.args)-1]
	for _, p := range all {
		if strings.EqualFold(p.Name, name) {
			return c.reply(p, "")
		}
	}
	return fault.DPSGenericNotFound.New("there is no policy %q", brief(name))
}

// isManaged says whether the request came by a path of management tools, which
// read errors in a form of their own (dps 3.10).
func (c *call) isManaged() bool {
	return len(c.segments) > 0 && strings.EqualFold(c.segments[0], "subscriptions")
}

// managedError is an error as management tools read it.
type managedError struct {
	Code    string `json:"code"`
	Status  int    `json:"httpStatusCode"`
	Message string `json:"message"`
	Details string `json:"details"`
}
