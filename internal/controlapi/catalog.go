package controlapi

import (
	"math"
	"net/http"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
)

// itemError takes the place of the fields of what cannot be expressed (iot-v1
// CA-5).
type itemError struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

type span struct {
	Minimum string `json:"minimum"`
	Maximum string `json:"maximum"`
	Step    string `json:"step,omitempty"`
}

// cadence is in whole seconds (iot-v1 BT-6).
type cadence struct {
	Expected int `json:"expected_interval"`
	Minimum  int `json:"minimum_interval"`
}

type commandItem struct {
	ID        string     `json:"id"`
	Value     *string    `json:"value,omitempty"`
	ValueType *string    `json:"value_type,omitempty"`
	Kind      *string    `json:"kind,omitempty"`
	PinPort   *string    `json:"pin_port,omitempty"`
	Range     *span      `json:"range,omitempty"`
	Cadence   *cadence   `json:"cadence,omitempty"`
	Error     *itemError `json:"error,omitempty"`
}

type sensorItem struct {
	ID      string     `json:"id"`
	Kind    *string    `json:"kind,omitempty"`
	QC      *string    `json:"qc,omitempty"`
	MU      *string    `json:"mu,omitempty"`
	PinPort *string    `json:"pin_port,omitempty"`
	Cadence *cadence   `json:"cadence,omitempty"`
	Error   *itemError `json:"error,omitempty"`
}

type commandsAnswer struct {
	Code     int           `json:"code"`
	Commands []commandItem `json:"commands"`
}

type sensorsAnswer struct {
	Code    int          `json:"code"`
	Sensors []sensorItem `json:"sensors"`
}

const codeOK = 2000

// defaultItem is the pace of items that is expected of a source, in seconds.
const defaultItem = 60

func pace(s *nave.ControlSource, timed bool) *cadence {
	if !timed {
		return nil
	}
	c := &cadence{s.Expected, s.Pause}
	if c.Expected == 0 {
		c.Expected = defaultItem
	}
	return c
}

func commandOf(s *nave.ControlSource, value string, timed bool) commandItem {
	if !s.Fits(value) {
		return commandItem{ID: s.ID, Error: &itemError{"validation_failed", "this command cannot be expressed in iot/v1"}}
	}
	c := commandItem{ID: s.ID, Value: &value, ValueType: &s.ValueType, Kind: &s.Kind, PinPort: &s.PinPort, Cadence: pace(s, timed)}
	if s.ValueType == nave.NumericRange && s.Minimum != "" {
		c.Range = &span{s.Minimum, s.Maximum, s.Step}
	}
	return c
}

func sensorOf(s *nave.ControlSource, timed bool) sensorItem {
	if !s.Fits("") {
		return sensorItem{ID: s.ID, Error: &itemError{"validation_failed", "this sensor cannot be expressed in iot/v1"}}
	}
	return sensorItem{ID: s.ID, Kind: &s.Kind, QC: &s.Quantity, MU: &s.Unit, PinPort: &s.PinPort, Cadence: pace(s, timed)}
}

// commands returns the items of the device's commands, of only one when that is
// named.
func (c *call) commands(only string, timed bool) ([]commandItem, error) {
	states, err := c.device.States(c.r.Context())
	if err != nil {
		return nil, err
	}
	all := []commandItem{}
	for _, s := range c.device.Sources {
		if s.IsCommand() && (only == "" || s.ID == only) {
			all = append(all, commandOf(s, states[s.No].Desired, timed))
		}
	}
	return all, nil
}

func (c *call) sensors(only string, timed bool) []sensorItem {
	all := []sensorItem{}
	for _, s := range c.device.Sources {
		if !s.IsCommand() && (only == "" || s.ID == only) {
			all = append(all, sensorOf(s, timed))
		}
	}
	return all
}

// begin takes step 10 and the gate for a read of the class.
func (c *call) begin(class nave.ControlClass) error {
	if err := c.device.Take(class); err != nil {
		return err
	}
	return c.device.Enter(c.r.Context())
}

func (c *call) listCommands() error { return c.replyCommands("") }

func (c *call) showCommand() error { return c.replyCommands(c.args[1]) }

func (c *call) replyCommands(only string) error {
	if err := c.begin(nave.CatalogClass); err != nil {
		return err
	}
	if only != "" {
		if _, err := c.device.Source(only, true); err != nil {
			return err
		}
	}
	all, err := c.commands(only, false)
	if err != nil {
		return err
	}
	return c.show(http.StatusOK, commandsAnswer{codeOK, all})
}

func (c *call) listSensors() error { return c.replySensors("") }

func (c *call) showSensor() error { return c.replySensors(c.args[1]) }

func (c *call) replySensors(only string) error {
	if err := c.begin(nave.CatalogClass); err != nil {
		return err
	}
	if only != "" {
		if _, err := c.device.Source(only, false); err != nil {
			return err
		}
	}
	return c.show(http.StatusOK, sensorsAnswer{codeOK, c.sensors(only, false)})
}

type bootstrapAnswer struct {
	Code      int           `json:"code"`
	Device    string        `json:"device_id"`
	Available []string      `json:"available_protocols"`
	Catalog   string        `json:"catalog_revision"`
	Runtime   string        `json:"runtime_revision"`
	Commands  []commandItem `json:"commands"`
	Sensors   []sensorItem  `json:"sensors"`
	Protocols protocols     `json:"protocols"`
}

type protocols struct {
	HTTPS *httpsRuntime `json:"https,omitempty"`
	MQTT  *mqttRuntime  `json:"mqtt,omitempty"`
}

type httpsRuntime struct {
	Endpoints endpoints `json:"endpoints"`
	Limits    struct {
		Bytes int `json:"request_max_bytes"`
		Items int `json:"batch_max_items"`
	} `json:"limits"`
	Cadence struct {
		Catalog cadence `json:"catalog"`
		Desired cadence `json:"desired_states"`
		Feed    cadence `json:"feed_data"`
	} `json:"cadence"`
	Backoff backoff `json:"backoff"`
}

type endpoints struct {
	Commands string `json:"commands"`
	Sensors  string `json:"sensors"`
	Desired  string `json:"desired_states"`
	Feed     string `json:"feed_data"`
	Batches  string `json:"feed_data_batches"`
}

type backoff struct {
	Initial    int     `json:"initial"`
	Multiplier float64 `json:"multiplier"`
	Maximum    int     `json:"maximum"`
	Jitter     float64 `json:"jitter"`
}

type mqttRuntime struct {
	Catalog string `json:"catalog_endpoint"`
}

// catalogPace is how often a device is expected to read its catalogue, in
// seconds.
const catalogPace = 3600

// showBootstrap is E3 (iot-v1 4.1).
func (c *call) showBootstrap() error {
	if err := c.begin(nave.CatalogClass); err != nil {
		return err
	}
	commands, err := c.commands("", true)
	if err != nil {
		return err
	}
	d := c.device
	a := bootstrapAnswer{Code: codeOK, Device: d.ID, Available: d.Protocols, Catalog: d.Catalog, Runtime: d.Runtime, Commands: commands, Sensors: c.sensors("", true)}
	if d.Speaks(control.HTTPS) {
		a.Protocols.HTTPS = httpsOf(d)
	}
	if d.Speaks(control.MQTT) {
		a.Protocols.MQTT = &mqttRuntime{devices + d.ID + "/mqtt"}
	}
	return c.show(http.StatusOK, a)
}

func httpsOf(d *control.Device) *httpsRuntime {
	at := devices + d.ID
	h := &httpsRuntime{Endpoints: endpoints{at + "/commands", at + "/sensors", at + "/desired-states", at + "/feed-data", at + "/feed-data/batches"},
		Backoff: backoff{2, 2, 300, 0.2}}
	h.Limits.Bytes, h.Limits.Items = d.Limits.RequestBytes, d.Limits.BatchItems
	least := func(class nave.ControlClass) int { return int(math.Ceil(d.Limits.Rates[class].Every)) }
	h.Cadence.Catalog = cadence{max(catalogPace, least(nave.CatalogClass)), least(nave.CatalogClass)}
	h.Cadence.Desired = cadence{max(d.Poll(), least(nave.DesiredClass)), least(nave.DesiredClass)}
	h.Cadence.Feed = cadence{max(defaultItem, least(nave.FeedClass)), least(nave.FeedClass)}
	return h
}

type desiredItem struct {
	ID       string  `json:"desired_id"`
	Command  string  `json:"command_id"`
	Value    string  `json:"value"`
	Sequence int64   `json:"sequence_number"`
	Issued   string  `json:"issued_at"`
	Expires  *string `json:"expires_at"`
}

type desiredAnswer struct {
	Code    int           `json:"code"`
	All     []desiredItem `json:"desired_states"`
	Catalog string        `json:"catalog_revision"`
	Runtime string        `json:"runtime_revision"`
	Poll    int           `json:"poll_after"`
}

// listDesired is E8 (iot-v1 8.2).
func (c *call) listDesired() error {
	if err := c.begin(nave.DesiredClass); err != nil {
		return err
	}
	pending, err := c.device.Pending(c.r.Context())
	if err != nil {
		return err
	}
	all := []desiredItem{}
	for _, s := range pending {
		i := desiredItem{ID: s.ID, Command: s.Command, Value: s.Value, Sequence: s.Sequence, Issued: moment(s.Issued)}
		if !s.Expires.IsZero() {
			text := moment(s.Expires)
			i.Expires = &text
		}
		all = append(all, i)
	}
	return c.show(http.StatusOK, desiredAnswer{codeOK, all, c.device.Catalog, c.device.Runtime, c.device.Poll()})
}
