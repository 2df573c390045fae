package dpsapi

import "github.com/nave-hub/nave/internal/dps"

// groupRecordRoutes are the accounts of enrolment groups (dps 6.2).
var groupRecordRoutes = noun[dps.GroupRecord, dps.GroupRecord]{
	path: "/groupRecords", item: "GroupRecord", read: dps.RegistrationRead, write: dps.RegistrationWrite,
	get: (*dps.Access).GroupRecord, list: (*dps.Access).GroupRecords,
	parse: dps.ParseGroupRecord, put: (*dps.Access).PutGroupRecord, remove: unforced((*dps.Access).DeleteGroupRecord),
	etag: groupRecordETag,
}.routes(
	route{"POST", "/groupRecords/{id}/resetUsage", dps.RegistrationWrite, (*call).resetUsage},
)

func groupRecordETag(r *dps.GroupRecord) string { return r.ETag }

func (c *call) resetUsage() error {
	return tagged(c, groupRecordETag)(c.access.ResetUsage(c.r.Context(), c.args[0]))
}
