package dpsapi

import (
	"context"

	"github.com/nave-hub/nave/internal/dps"
)

// deviceRecordRoutes are the records of devices (dps 6.1).
var deviceRecordRoutes = deviceRecord.routes(
	route{"POST", "/deviceRecords/query", dps.RegistrationRead, (*call).queryDeviceRecords},
)

var deviceRecord = noun[dps.DeviceRecord, dps.RecordDraft]{
	path: "/deviceRecords", item: "DeviceRecord", read: dps.RegistrationRead, write: dps.RegistrationWrite,
	get: (*dps.Access).DeviceRecord, list: allDeviceRecords,
	parse: dps.ParseDeviceRecord, put: (*dps.Access).PutDeviceRecord, remove: (*dps.Access).DeleteDeviceRecord,
	etag: deviceRecordETag,
}

func allDeviceRecords(a *dps.Access, ctx context.Context, token string, limit int) ([]*dps.DeviceRecord, string, error) {
	return a.DeviceRecords(ctx, "", token, limit)
}

func deviceRecordETag(r *dps.DeviceRecord) string { return r.ETag }

func (c *call) queryDeviceRecords() error {
	var spec struct {
		Query string `json:"query"`
	}
	b, err := c.body()
	if err == nil && len(b) > 0 {
		err = dps.Decode(b, &spec)
	}
	if err != nil {
		return err
	}
	return paged(c, "DeviceRecord", func(token string, limit int) ([]*dps.DeviceRecord, string, error) {
		return c.access.DeviceRecords(c.r.Context(), spec.Query, token, limit)
	})
}
