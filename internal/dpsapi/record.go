package dpsapi

import (
	"time"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// recordRoutes are the log of register operations (dps 6.5).
var recordRoutes = []route{
	{"GET", "/provisioningRecords", dps.RegistrationRead, (*call).showRecords},
	{"GET", "/provisioningRecords/{id}", dps.RegistrationRead, (*call).showRecord},
	{"PUT", "/provisioningRecords/{id}", dps.RegistrationWrite, (*call).importRecord},
	{"DELETE", "/provisioningRecords/{id}", dps.RegistrationWrite, (*call).deleteRecord},
}

func recordETag(r *dps.ProvisioningRecord) string { return r.ETag }

func (c *call) showRecord() error {
	return tagged(c, recordETag)(c.access.ProvisioningRecord(c.r.Context(), c.args[0]))
}

func (c *call) showRecords() (err error) {
	f := dps.RecordFilter{RegistrationID: c.parameter("registrationId")}
	if f.From, err = c.moment("from"); err != nil {
		return err
	}
	if f.To, err = c.moment("to"); err != nil {
		return err
	}
	return paged(c, "ProvisioningRecord", func(token string, limit int) ([]*dps.ProvisioningRecord, string, error) {
		return c.access.ProvisioningRecords(c.r.Context(), f, token, limit)
	})
}

// moment reads a time in the query string; zero when it is missing.
func (c *call) moment(name string) (t time.Time, err error) {
	text := c.parameter(name)
	if text == "" {
		return t, nil
	}
	if t, err = time.Parse(time.RFC3339Nano, text); err != nil {
		return t, fault.DPSArgumentInvalid.New("%s is %q, a time such as 2026-01-31T12:00:00Z is needed", name, brief(text))
	}
	return t, nil
}

func (c *call) importRecord() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	r, err := dps.ParseProvisioningRecord(b)
	if err != nil {
		return err
	}
	return tagged(c, recordETag)(c.access.ImportRecord(c.r.Context(), c.args[0], r, c.match()))
}

func (c *call) deleteRecord() error {
	return c.gone(c.access.DeleteRecord(c.r.Context(), c.args[0], c.match()))
}
