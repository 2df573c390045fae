package controlapi

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
)

// moment writes a time as devices get it: RFC 3339 in UTC.
func moment(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.999999999Z") }

type mqttAnswer struct {
	Code       int                `json:"code"`
	Device     string             `json:"device_id"`
	Catalog    string             `json:"catalog_revision"`
	Broker     string             `json:"broker_url,omitempty"`
	Client     string             `json:"mqtt_client_id,omitempty"`
	Credential string             `json:"credential_endpoint,omitempty"`
	Request    *credentialRequest `json:"credential_request,omitempty"`
	Ack        string             `json:"feed_data_ack_topic,omitempty"`
	Routes     []routeItem        `json:"routes,omitempty"`
	Limits     *mqttLimits        `json:"limits,omitempty"`
	Scopes     map[string]string  `json:"scopes,omitempty"`
}

type credentialRequest struct {
	Device string `json:"device_id"`
}

type routeItem struct {
	Source   string `json:"source"`
	Sensor   string `json:"sensor_id,omitempty"`
	Command  string `json:"command_id,omitempty"`
	Resource string `json:"resource_id"`
	Feed     string `json:"feed_data_topic"`
	Desired  string `json:"desired_topic,omitempty"`
}

type mqttLimits struct {
	Payload   int     `json:"payload_max_bytes"`
	Interval  float64 `json:"publish_interval"`
	Burst     int     `json:"publish_burst"`
	Inflight  int     `json:"inflight_max"`
	KeepAlive int     `json:"keep_alive_max"`
	Ack       int     `json:"ack_timeout"`
}

// Limits of MQTT connections that no plan changes (iot-v1 11.2); the last two
// in seconds.
const (
	inflightMax  = 20
	keepAliveMax = 300
	ackTimeout   = 30
)

// showMQTT is E11 (iot-v1 11.2). Without MQTT for the device, or without a
// broker, it has no credential_endpoint.
func (c *call) showMQTT() error {
	if err := c.begin(nave.CatalogClass); err != nil {
		return err
	}
	d := c.device
	a := mqttAnswer{Code: codeOK, Device: d.ID, Catalog: d.Catalog}
	if d.Speaks(control.MQTT) && c.s.control.Broker() != "" {
		a.Broker, a.Client, a.Ack = c.s.control.Broker(), d.ID, d.AckTopic()
		a.Credential, a.Request = root+"mqtt-credentials", &credentialRequest{d.ID}
		a.Routes = routesOf(d)
		r := d.Limits.Rates[nave.MQTTFeedClass]
		a.Limits = &mqttLimits{d.Limits.PayloadBytes, r.Every, r.Burst, inflightMax, keepAliveMax, ackTimeout}
		a.Scopes = map[string]string{"connect": control.ScopeMQTT, "ack": control.ScopeMQTTAck, "publish": control.ScopeMQTTFeed, "desired": control.ScopeMQTTDesired}
	}
	if a.Credential != "" && len(a.Routes) == 0 {
		return c.show(http.StatusOK, struct {
			mqttAnswer
			Routes []routeItem `json:"routes"`
		}{a, []routeItem{}})
	}
	return c.show(http.StatusOK, a)
}

func routesOf(d *control.Device) (all []routeItem) {
	for _, r := range d.Routes() {
		i := routeItem{Source: "sensor", Sensor: r.Source.ID, Resource: r.Resource, Feed: d.FeedTopic(r)}
		if r.Source.IsCommand() {
			i.Source, i.Sensor, i.Command, i.Desired = "command", "", r.Source.ID, d.DesiredTopic(r)
		}
		all = append(all, i)
	}
	return all
}

type credentialAnswer struct {
	Code     int    `json:"code"`
	Client   string `json:"mqtt_client_id"`
	User     string `json:"mqtt_username"`
	Password string `json:"mqtt_credential"`
	Expires  int    `json:"expires_in"`
	Renew    int    `json:"renew_after"`
}

// issueCredential is E12 (iot-v1 11.3).
func (c *call) issueCredential() error {
	d := c.device
	if err := d.Take(nave.CredentialClass); err != nil {
		return err
	}
	body, err := c.body(d.Limits.RequestBytes)
	if err != nil {
		return err
	}
	asked, err := control.ParseCredentialRequest(body)
	if err != nil {
		return err
	}
	if asked != d.ID {
		return foreignDevice()
	}
	k, err := d.Credential(c.r.Context(), c.grant.Hash, c.grant.Scopes)
	if err != nil {
		return err
	}
	b, err := json.Marshal(credentialAnswer{codeOK, k.Device, k.Device, k.Password, int(k.Life.Seconds()), int(k.Renew.Seconds())})
	if err != nil {
		return err
	}
	c.reply(http.StatusCreated, b)
	return nil
}
