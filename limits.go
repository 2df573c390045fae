package nave

import "time"

// Limits are the sizes, counts and times that a hub enforces. Each
// field's tags give the setting's name and meaning; Defaults holds the values.
type Limits struct {
	D2C            int           `setting:"d2c.maxSize" doc:"bytes of a telemetry message or batch, 256 KiB"`
	C2D            int           `setting:"c2d.maxSize" doc:"bytes of a cloud-to-device message, 64 KiB"`
	C2DPending     int           `setting:"c2d.maxPending" doc:"queued and locked messages of one identity, 50"`
	C2DBytes       int           `setting:"c2d.maxQueueBytes" doc:"bytes in one queue, 50 × 64 KiB"`
	C2DTTL         time.Duration `setting:"c2d.defaultTtl" doc:"PT1M–P2D, 1 h"`
	C2DMaxTTL      time.Duration `setting:"c2d.maxTtl" doc:"48 h"`
	C2DLock        time.Duration `setting:"c2d.lock" doc:"60 s"`
	C2DDeliveries  int           `setting:"c2d.maxDeliveryCount" doc:"1–100, 10"`
	FeedbackTTL    time.Duration `setting:"feedback.ttl" doc:"1 h"`
	FeedbackLock   time.Duration `setting:"feedback.lock" doc:"5–300 s, 60 s"`
	FeedbackTries  int           `setting:"feedback.maxDeliveryCount" doc:"10"`
	Method         int           `setting:"method.maxPayload" doc:"128 KiB either way"`
	MethodInflight int           `setting:"method.maxInflight" doc:"calls open to one identity, 100"`
	MethodTimeout  time.Duration `setting:"method.timeout" doc:"5–300 s, 30 s"`
	Tags           int           `setting:"twin.maxTags" doc:"8 KiB"`
	Desired        int           `setting:"twin.maxDesired" doc:"32 KiB"`
	Reported       int           `setting:"twin.maxReported" doc:"32 KiB"`
	Devices        int           `setting:"registry.maxDevices" doc:"devices and modules of a hub, 1,000,000"`
	Modules        int           `setting:"registry.maxModules" doc:"modules of a device, 50"`
	Bulk           int           `setting:"registry.maxBulk" doc:"entries of a bulk call, 100"`
	List           int           `setting:"registry.maxList" doc:"entries of a listing, 1000"`
	Body           int           `setting:"http.maxBody" doc:"bytes of a REST body, 1 MiB"`
	Subscriptions  int           `setting:"mqtt.maxSubscriptions" doc:"topic filters of a connection, 10"`
	Skew           time.Duration `setting:"auth.skew" doc:"allowed clock difference and grace after expiry, 300 s"`
	TagsTouch      bool          `setting:"twin.tagsTouchDesired" doc:"a tags-only write moves desired $version"`
}

// Defaults returns the published limits.
func Defaults() Limits {
	return Limits{
		D2C: 256 << 10, C2D: 64 << 10, C2DPending: 50, C2DBytes: 50 * 64 << 10,
		C2DTTL: time.Hour, C2DMaxTTL: 48 * time.Hour, C2DLock: time.Minute, C2DDeliveries: 10,
		FeedbackTTL: time.Hour, FeedbackLock: time.Minute, FeedbackTries: 10,
		Method: 128 << 10, MethodInflight: 100, MethodTimeout: 30 * time.Second,
		Tags: 8 << 10, Desired: 32 << 10, Reported: 32 << 10,
		Devices: 1_000_000, Modules: 50, Bulk: 100, List: 1000, Body: 1 << 20,
		Subscriptions: 10, Skew: 5 * time.Minute, TagsTouch: true,
	}
}
