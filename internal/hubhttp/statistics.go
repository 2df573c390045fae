package hubhttp

import (
	"fmt"
	"net/http"
)

var statisticsRoutes = []route{
	{"GET", "/statistics/devices", countDevices},
	{"GET", "/statistics/service", countConnected},
}

// countDevices writes one count under two names: one SDK misspells it
// (service-api 2.7).
func countDevices(c *call) error {
	s, err := c.backend.Statistics(c.r.Context())
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, fmt.Appendf(nil, `{"totalDeviceCount":%d,"enabledDeviceCount":%d,"disabledDeviceCount":%d,"enableDeviceCount":%d}`,
		s.Devices, s.Enabled, s.Disabled, s.Enabled))
}

func countConnected(c *call) error {
	s, err := c.backend.Statistics(c.r.Context())
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, fmt.Appendf(nil, `{"connectedDeviceCount":%d}`, s.Connected))
}
