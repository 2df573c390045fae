package hubhttp

import "net/http"

var moduleRoutes = []route{
	{"GET", "/devices/{d}/modules", listModules},
	{"GET", "/devices/{d}/modules/{m}", readIdentity},
	{"PUT", "/devices/{d}/modules/{m}", putModule},
	{"DELETE", "/devices/{d}/modules/{m}", deleteIdentity},
}

func listModules(c *call) error {
	list, err := c.backend.Modules(c.r.Context(), c.on.Device)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, appendIdentities(nil, list))
}

// putModule tells creation and update apart, unlike putDevice (service-api
// 2.4).
func putModule(c *call) error {
	i, err := c.putIdentity()
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if c.ifMatch() != "" {
		status = http.StatusOK
	}
	return c.entity(status, i.ETag, i.Append(nil))
}
