package dpsapi

import "github.com/nave-hub/nave/internal/dps"

// registrationRoutes are registration states (dps 3.5).
var registrationRoutes = []route{
	{"GET", "/registrations/{id}", dps.RegistrationRead, (*call).showRegistration},
	{"DELETE", "/registrations/{id}", dps.RegistrationWrite, (*call).deleteRegistration},
	{"POST", "/registrations/{id}/query", dps.RegistrationRead, (*call).queryRegistrations},
}

func (c *call) showRegistration() error {
	r, err := c.access.Registration(c.r.Context(), c.args[0])
	if err != nil {
		return err
	}
	return c.reply(r, `"`+r.ETag+`"`)
}

func (c *call) deleteRegistration() error {
	return c.gone(c.access.DeleteRegistration(c.r.Context(), c.args[0], c.match()))
}

// queryRegistrations lists the members of a group; a body is not looked at.
func (c *call) queryRegistrations() error {
	token, size, err := c.page()
	if err != nil {
		return err
	}
	all, next, err := c.access.GroupRegistrations(c.r.Context(), c.args[0], token, size)
	if err != nil {
		return err
	}
	return c.replyPage(all, "DeviceRegistration", size, next)
}
