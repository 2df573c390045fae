package dpsapi

import (
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// deviceGroupRoutes are device groups, their members and actions (dps 6.3).
var deviceGroupRoutes = noun[dps.DeviceGroup, dps.DeviceGroup]{
	path: "/deviceGroups", item: "DeviceGroup", read: dps.RegistrationRead, write: dps.RegistrationWrite,
	get: (*dps.Access).DeviceGroup, list: (*dps.Access).DeviceGroups,
	parse: dps.ParseDeviceGroup, put: (*dps.Access).PutDeviceGroup, remove: (*dps.Access).DeleteDeviceGroup,
	etag: func(g *dps.DeviceGroup) string { return g.ETag },
}.routes(
	route{"GET", "/deviceGroups/{id}/devices", dps.RegistrationRead, (*call).showGroupDevices},
	route{"GET", "/deviceGroups/{id}/devices/{device}", dps.RegistrationRead, (*call).showGroupDevice},
	route{"PUT", "/deviceGroups/{id}/devices/{device}", dps.RegistrationWrite, (*call).addGroupDevice},
	route{"DELETE", "/deviceGroups/{id}/devices/{device}", dps.RegistrationWrite, (*call).removeGroupDevice},
	route{"POST", "/deviceGroups/{id}/actions", dps.RegistrationWrite, (*call).startAction},
	route{"GET", "/deviceGroups/{id}/actions/{operation}", dps.RegistrationRead, (*call).showAction},
)

func (c *call) showGroupDevices() error {
	return paged(c, "DeviceRecord", func(token string, limit int) ([]*dps.DeviceRecord, string, error) {
		return c.access.GroupDevices(c.r.Context(), c.args[0], token, limit)
	})
}

func (c *call) showGroupDevice() error {
	return tagged(c, deviceRecordETag)(c.access.GroupDevice(c.r.Context(), c.args[0], c.args[1]))
}

func (c *call) addGroupDevice() error {
	return tagged(c, deviceRecordETag)(c.access.AddGroupDevice(c.r.Context(), c.args[0], c.args[1]))
}

func (c *call) removeGroupDevice() error {
	return c.gone(c.access.RemoveGroupDevice(c.r.Context(), c.args[0], c.args[1]))
}

// startAction answers 202 with the action and where to ask for it.
func (c *call) startAction() error {
	b, err := c.body()
	if err != nil {
		return err
	}
	x, err := dps.ParseGroupAction(b)
	if err != nil {
		return err
	}
	if x, err = c.access.StartGroupAction(c.r.Context(), c.args[0], x); err != nil {
		return err
	}
	if b, err = json.Marshal(x); err != nil {
		return fault.DPSServerError.Wrap(err, "the answer could not be encoded")
	}
	c.w.Header().Set("Location", "https://"+c.r.Host+"/deviceGroups/"+url.PathEscape(c.args[0])+"/actions/"+x.ID+"?api-version="+c.version.String())
	c.write(http.StatusAccepted, b)
	return nil
}

func (c *call) showAction() error {
	return tagged(c, func(*dps.GroupAction) string { return "" })(c.access.GroupActionOf(c.r.Context(), c.args[0], c.args[1]))
}
