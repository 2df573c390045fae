package nave

// Filter is one MQTT topic filter with the QoS that was granted.
type Filter struct {
	Topic string `json:"topic"`
	QoS   byte   `json:"qos"`
}

// Session is what outlives an MQTT connection that was opened with
// CleanSession 0 (device-protocols 2.2).
type Session struct {
	ID      ID
	Filters []Filter
}
