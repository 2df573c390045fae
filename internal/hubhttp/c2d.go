package hubhttp

import (
	"net/http"
	"strconv"
)

var c2dRoutes = []route{{"DELETE", "/devices/{d}/commands", purgeC2D}}

// purgeC2D drops the waiting messages of a device (service-api 2.15).
func purgeC2D(c *call) error {
	n, err := c.backend.Purge(c.r.Context(), c.on)
	if err != nil {
		return err
	}
	b := strconv.AppendInt([]byte(`{"totalMessagesPurged":`), int64(n), 10)
	b = appendText(append(b, `,"deviceId":`...), c.on.Device)
	return c.reply(http.StatusOK, append(b, `,"moduleId":null}`...))
}
