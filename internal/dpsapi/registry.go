package dpsapi

import "github.com/nave-hub/nave/internal/dps"

// registryRoutes are the link to a device registry (dps 3.12).
var registryRoutes = []route{
	{"GET", "/deviceRegistryNamespace", dps.ServiceConfig, (*call).showRegistry},
	{"PUT", "/deviceRegistryNamespace", dps.ServiceConfig, (*call).putRegistry},
	{"DELETE", "/deviceRegistryNamespace", dps.ServiceConfig, (*call).deleteRegistry},
}

func registryETag(l *dps.RegistryLink) string { return l.ETag }

func (c *call) showRegistry() error {
	return tagged(c, registryETag)(c.access.RegistryLink(c.r.Context()))
}

func (c *call) putRegistry() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	l, err := dps.ParseRegistryLink(b)
	if err != nil {
		return err
	}
	return tagged(c, registryETag)(c.access.PutRegistryLink(c.r.Context(), l, c.match()))
}

func (c *call) deleteRegistry() error {
	return c.gone(c.access.DeleteRegistryLink(c.r.Context(), c.match()))
}
