package mqtt

// Version is a set of protocol versions.
type Version byte

// The versions that the engine speaks.
const (
	V311 Version = 1 << iota // MQTT 3.1.1, protocol level 4
	V5                       // MQTT 5.0, protocol level 5
)

func (v Version) speaks(c *Connect) bool {
	return c.Protocol == "MQTT" && (c.Level == 4 && v&V311 != 0 || c.Level == 5 && v&V5 != 0)
}
