package dpsapi

import (
	"context"

	"github.com/nave-hub/nave/internal/dps"
)

// enrollmentRoutes are individual enrolments (dps 3.3, 3.6 to 3.8).
var enrollmentRoutes = []route{
	{"PUT", "/enrollments/{id}", dps.EnrollmentWrite, (*call).putEnrollment},
	{"GET", "/enrollments/{id}", dps.EnrollmentRead, (*call).showEnrollment},
	{"DELETE", "/enrollments/{id}", dps.EnrollmentWrite, (*call).deleteEnrollment},
	{"POST", "/enrollments/query", dps.EnrollmentRead, (*call).queryEnrollments},
	{"POST", "/enrollments", dps.EnrollmentWrite, (*call).bulkEnrollments},
	{"POST", "/enrollments/{id}/attestationmechanism", dps.EnrollmentRead, (*call).showAttestation},
}

// groupRoutes are enrolment groups (dps 3.4).
var groupRoutes = []route{
	{"PUT", "/enrollmentGroups/{id}", dps.EnrollmentWrite, (*call).putGroup},
	{"GET", "/enrollmentGroups/{id}", dps.EnrollmentRead, (*call).showGroup},
	{"DELETE", "/enrollmentGroups/{id}", dps.EnrollmentWrite, (*call).deleteGroup},
	{"POST", "/enrollmentGroups/query", dps.EnrollmentRead, (*call).queryGroups},
	{"POST", "/enrollmentGroups", dps.EnrollmentWrite, (*call).bulkGroups},
	{"POST", "/enrollmentGroups/{id}/attestationmechanism", dps.EnrollmentRead, (*call).showGroupAttestation},
}

func (c *call) putEnrollment() error { return c.put(false, c.access.PutEnrollment) }
func (c *call) putGroup() error      { return c.put(true, c.access.PutGroup) }

func (c *call) put(group bool, put func(context.Context, string, *dps.Enrollment, dps.Match) (*dps.Enrollment, error)) error {
	b, err := c.body()
	if err != nil {
		return err
	}
	e, err := dps.ParseEnrollment(b, group)
	if err != nil {
		return err
	}
	if e, err = put(c.r.Context(), c.args[0], e, c.match()); err != nil {
		return err
	}
	return c.reply(e, e.ETag)
}

func (c *call) showEnrollment() error { return c.show(c.access.Enrollment(c.r.Context(), c.args[0])) }
func (c *call) showGroup() error      { return c.show(c.access.Group(c.r.Context(), c.args[0])) }

func (c *call) show(e *dps.Enrollment, err error) error {
	if err != nil {
		return err
	}
	return c.reply(e, e.ETag)
}

func (c *call) deleteEnrollment() error {
	return c.gone(c.access.DeleteEnrollment(c.r.Context(), c.args[0], c.match()))
}

func (c *call) deleteGroup() error {
	return c.gone(c.access.DeleteGroup(c.r.Context(), c.args[0], c.match()))
}

// gone answers a DELETE.
func (c *call) gone(err error) error {
	if err != nil {
		return err
	}
	return c.done()
}

func (c *call) queryEnrollments() error { return c.search("Enrollment", c.access.Enrollments) }
func (c *call) queryGroups() error      { return c.search("EnrollmentGroup", c.access.Groups) }

func (c *call) search(itemType string, find func(ctx context.Context, query, token string, limit int) ([]*dps.Enrollment, string, error)) error {
	token, size, err := c.page()
	if err != nil {
		return err
	}
	b, err := c.body()
	if err != nil {
		return err
	}
	var spec struct {
		Query string `json:"query"`
	}
	if len(b) > 0 {
		if err := dps.Decode(b, &spec); err != nil {
			return err
		}
	}
	all, next, err := find(c.r.Context(), spec.Query, token, size)
	if err != nil {
		return err
	}
	return c.replyPage(all, itemType, size, next)
}

func (c *call) bulkEnrollments() error { return c.bulk(false) }
func (c *call) bulkGroups() error      { return c.bulk(true) }

func (c *call) bulk(group bool) error {
	b, err := c.body()
	if err != nil {
		return err
	}
	bulk, err := dps.ParseBulk(b, group)
	if err != nil {
		return err
	}
	result, err := c.access.Bulk(c.r.Context(), bulk)
	if err != nil {
		return err
	}
	return c.reply(result, "")
}

func (c *call) showAttestation() error {
	return c.attestation(c.access.EnrollmentAttestation(c.r.Context(), c.args[0]))
}

func (c *call) showGroupAttestation() error {
	return c.attestation(c.access.GroupAttestation(c.r.Context(), c.args[0]))
}

func (c *call) attestation(a *dps.Attestation, err error) error {
	if err != nil {
		return err
	}
	return c.reply(a, "")
}
