package console

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// controlRoute is one operation on the iot/v1 side of a hub.
type controlRoute struct {
	pattern string
	do      func(*server, *control.Control, http.ResponseWriter, *http.Request) error
}

var controlRoutes = []controlRoute{
	{"GET /api/hubs/{host}/control", (*server).listControl},
	{"POST /api/hubs/{host}/control", (*server).createControl},
	{"GET /api/hubs/{host}/control/{id}", (*server).showControl},
	{"PATCH /api/hubs/{host}/control/{id}", (*server).changeControl},
	{"DELETE /api/hubs/{host}/control/{id}", (*server).deleteControl},
	{"POST /api/hubs/{host}/control/{id}/rotate", (*server).rotateControl},
	{"POST /api/hubs/{host}/control/{id}/sources", (*server).addSource},
	{"PATCH /api/hubs/{host}/control/{id}/sources/{source}", (*server).changeSource},
	{"DELETE /api/hubs/{host}/control/{id}/sources/{source}", (*server).deleteSource},
	{"GET /api/hubs/{host}/control/{id}/sources/{source}/history", (*server).showHistory},
	{"GET /api/hubs/{host}/control/{id}/sources/{source}/desired", (*server).listDesired},
	{"POST /api/hubs/{host}/control/{id}/sources/{source}/desired", (*server).setDesired},
	{"GET /api/hubs/{host}/control/{id}/desired/{desired}", (*server).followDesired},
	{"GET /api/hubs/{host}/control/{id}/audit", (*server).listAudit},
}

func (s *server) controlRoutes() {
	for _, r := range controlRoutes {
		s.mux.HandleFunc(r.pattern, func(w http.ResponseWriter, q *http.Request) {
			c, err := s.control(q.PathValue("host"))
			if err == nil {
				err = r.do(s, c, w, q)
			}
			if err != nil {
				s.fail(w, q, err)
			}
		})
	}
}

func (s *server) control(host string) (*control.Control, error) {
	h, err := s.hub(host)
	if err != nil {
		return nil, err
	}
	if s.o.Control != nil {
		if c := s.o.Control(h); c != nil {
			return c, nil
		}
	}
	return nil, refuse(fault.FeatureNotSupported, "Set hub.control.enabled and restart the node.", "iot/v1 is switched off on this hub")
}

// controlSource is a command or sensor as the API shows and takes it.
type controlSource struct {
	ID        string   `json:"id,omitempty"`
	Type      string   `json:"type"` // command or sensor
	Label     string   `json:"label,omitempty"`
	Kind      string   `json:"kind"`
	PinPort   string   `json:"pinPort,omitempty"`
	ValueType string   `json:"valueType,omitempty"`
	Value     string   `json:"value,omitempty"` // desired value of a command
	Minimum   string   `json:"minimum,omitempty"`
	Maximum   string   `json:"maximum,omitempty"`
	Step      string   `json:"step,omitempty"`
	Quantity  string   `json:"qc,omitempty"`
	Unit      string   `json:"mu,omitempty"`
	Adopt     bool     `json:"adopt,omitempty"`
	Lifetime  int      `json:"lifetimeSeconds,omitempty"`
	Expected  int      `json:"expectedSeconds,omitempty"`
	Pause     int      `json:"pauseSeconds,omitempty"`
	Resources []string `json:"resources,omitempty"`

	Reported   string `json:"reported,omitempty"`
	ReportedAt string `json:"reportedAt,omitempty"`
	InSync     *bool  `json:"inSync,omitempty"` // of a command: the reported value is the desired one
}

func (c *controlSource) draft() control.SourceDraft {
	return control.SourceDraft{Value: c.Value, ControlSource: nave.ControlSource{Label: c.Label, Kind: c.Kind, PinPort: c.PinPort, Resources: c.Resources,
		Minimum: c.Minimum, Maximum: c.Maximum, Step: c.Step, Expected: c.Expected, Pause: c.Pause, ValueType: c.ValueType, Adopt: c.Adopt,
		Lifetime: c.Lifetime, Quantity: c.Quantity, Unit: c.Unit}}
}

func sourceOf(s *nave.ControlSource, t nave.ControlState) controlSource {
	out := controlSource{ID: s.ID, Type: "sensor", Label: s.Label, Kind: s.Kind, PinPort: s.PinPort, ValueType: s.ValueType, Minimum: s.Minimum,
		Maximum: s.Maximum, Step: s.Step, Quantity: s.Quantity, Unit: s.Unit, Adopt: s.Adopt, Lifetime: s.Lifetime, Expected: s.Expected,
		Pause: s.Pause, Resources: s.Resources, Reported: t.Value, ReportedAt: timeText(t.Observed)}
	if s.IsCommand() {
		same := t.Feed != 0 && control.SameValue(s, t.Value, t.Desired)
		out.Type, out.Value, out.InSync = "command", t.Desired, &same
	}
	return out
}

func timeText(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return nave.Format(at)
}

// controlDevice is a control device as the API shows and takes it; fields that
// a PATCH leaves out stay as they are.
type controlDevice struct {
	ID         string             `json:"deviceId"`
	Label      *string            `json:"label,omitempty"`
	Enabled    *bool              `json:"enabled,omitempty"`
	Active     *bool              `json:"subscriptionActive,omitempty"`
	Until      *string            `json:"subscriptionUntil,omitempty"` // "" for without end
	Protocols  []string           `json:"protocols,omitempty"`
	Plan       *string            `json:"plan,omitempty"` // "" for the hub's default
	PlanValues map[string]float64 `json:"planValues,omitempty"`
	Expected   *int               `json:"expectedSeconds,omitempty"`
	Sources    []controlSource    `json:"sources,omitempty"`
	Count      int                `json:"sourceCount,omitempty"`
	Online     bool               `json:"online"`
	Seen       string             `json:"lastSeen,omitempty"`
	Created    string             `json:"created,omitempty"`

	Secret   string `json:"clientSecret,omitempty"` // of a new device or after rotate
	Endpoint string `json:"endpoint,omitempty"`
	CAFile   string `json:"caFile,omitempty"`
}

func deviceOf(d *nave.ControlDevice, now time.Time) controlDevice {
	enabled, active, until := !d.Disabled, d.Active(now), timeText(d.Until)
	return controlDevice{ID: d.ID, Label: &d.Label, Enabled: &enabled, Active: &active, Until: &until, Protocols: d.Protocols, Plan: &d.Plan,
		PlanValues: d.PlanValues, Expected: &d.Expected, Count: d.SourceCount, Seen: timeText(d.Seen), Created: timeText(d.Created)}
}

// apply puts what is set into a definition.
func (c *controlDevice) apply(d *nave.ControlDevice) error {
	if c.Label != nil {
		d.Label = *c.Label
	}
	if c.Enabled != nil {
		d.Disabled = !*c.Enabled
	}
	if c.Active != nil {
		d.Inactive = !*c.Active
	}
	if c.Plan != nil {
		d.Plan = *c.Plan
	}
	if c.Expected != nil {
		d.Expected = *c.Expected
	}
	if c.Protocols != nil {
		d.Protocols = c.Protocols
	}
	if c.PlanValues != nil {
		d.PlanValues = c.PlanValues
	}
	if c.Until == nil {
		return nil
	}
	d.Until = time.Time{}
	if *c.Until == "" {
		return nil
	}
	at, err := nave.ParseTime(*c.Until)
	if err != nil {
		return fault.ArgumentInvalid.Wrap(err, "subscriptionUntil is %q, which is no time", *c.Until)
	}
	d.Until = at
	return nil
}

func (s *server) listControl(c *control.Control, w http.ResponseWriter, r *http.Request) error {
	top, err := number(r, "top", 1000, 1, 1000)
	if err != nil {
		return err
	}
	rows, err := c.List(r.Context(), r.URL.Query().Get("after"), top)
	if err != nil {
		return err
	}
	all := []controlDevice{}
	for _, d := range rows {
		all = append(all, deviceOf(d, c.Now()))
	}
	return answer(w, all)
}

func (s *server) createControl(c *control.Control, w http.ResponseWriter, r *http.Request) error {
	var q controlDevice
	if err := readJSON(w, r, &q); err != nil {
		return err
	}
	var draft control.Draft
	if err := q.apply(&draft.Device); err != nil {
		return err
	}
	for n := range q.Sources {
		switch q.Sources[n].Type {
		case "command":
			draft.Commands = append(draft.Commands, q.Sources[n].draft())
		case "sensor":
			draft.Sensors = append(draft.Sensors, q.Sources[n].draft())
		default:
			return fault.ArgumentInvalid.New("the type of a source is %q, allowed are command and sensor", q.Sources[n].Type)
		}
	}
	d, secret, err := c.Create(r.Context(), draft)
	if err != nil {
		return err
	}
	out, err := whole(r.Context(), d)
	if err != nil {
		return err
	}
	out.Secret, out.CAFile = secret, s.o.CAFile
	out.Endpoint = s.endpoint(c.Hub())
	writeJSON(w, http.StatusCreated, out)
	return nil
}

// endpoint returns where control devices of the hub call, as seen from here.
func (s *server) endpoint(h *hub.Hub) string {
	_, port, err := net.SplitHostPort(s.o.Addresses()["https"])
	host := h.Host()
	if h.Answers("localhost") {
		host = "localhost"
	}
	if err != nil || port == "443" {
		return "https://" + host
	}
	return "https://" + net.JoinHostPort(host, port)
}

// whole returns a device with its sources and their states.
func whole(ctx context.Context, d *control.Device) (controlDevice, error) {
	states, err := d.States(ctx)
	if err != nil {
		return controlDevice{}, err
	}
	out := deviceOf(&d.ControlDevice, d.Now())
	out.Online, out.Seen = d.Online(), timeText(d.LastSeen())
	out.Sources = []controlSource{}
	for _, source := range d.Sources {
		out.Sources = append(out.Sources, sourceOf(source, states[source.No]))
	}
	return out, nil
}

func (s *server) showControl(c *control.Control, w http.ResponseWriter, r *http.Request) error {
	d, err := c.Device(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	out, err := whole(r.Context(), d)
	if err != nil {
		return err
	}
	return answer(w, out)
}

func (s *server) changeControl(c *control.Control, w http.ResponseWriter, r *http.Request) error {
	var q controlDevice
	if err := readJSON(w, r, &q); err != nil {
		return err
	}
	d, err := c.Change(r.Context(), r.PathValue("id"), q.apply)
	if err != nil {
		return err
	}
	out, err := whole(r.Context(), d)
	if err != nil {
		return err
	}
	return answer(w, out)
}

func (s *server) deleteControl(c *control.Control, w http.ResponseWriter, r *http.Request) error {
	if err := c.Delete(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *server) rotateControl(c *control.Control, w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	secret, err := c.Rotate(r.Context(), id)
	if err != nil {
		return err
	}
	return answer(w, controlDevice{ID: id, Secret: secret})
}

func (s *server) addSource(c *control.Control, w http.ResponseWriter, r *http.Request) error {
	var q controlSource
	if err := readJSON(w, r, &q); err != nil {
		return err
	}
	if q.Type != "command" && q.Type != "sensor" {
		return fault.ArgumentInvalid.New("the type of a source is %q, allowed are command and sensor", q.Type)
	}
	made, err := c.AddSource(r.Context(), r.PathValue("id"), q.draft(), q.Type == "command")
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, sourceOf(made, nave.ControlState{Desired: q.Value}))
	return nil
}

// changeSource alters the definition of a source; what the body leaves out
// stays as it is.
func (s *server) changeSource(c *control.Control, w http.ResponseWriter, r *http.Request) error {
	var body json.RawMessage
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	err := c.ChangeSource(r.Context(), r.PathValue("id"), r.PathValue("source"), func(d *nave.ControlSource) error {
		q := sourceOf(d, nave.ControlState{})
		if err := json.Unmarshal(body, &q); err != nil {
			return fault.ArgumentInvalid.Wrap(err, "the body can't be read: %v", err)
		}
		no, id, device := d.No, d.ID, d.Device
		*d = q.draft().ControlSource
		d.No, d.ID, d.Device = no, id, device
		return nil
	})
	if err != nil {
		return err
	}
	return s.showControl(c, w, r)
}

func (s *server) deleteSource(c *control.Control, w http.ResponseWriter, r *http.Request) error {
	if err := c.RemoveSource(r.Context(), r.PathValue("id"), r.PathValue("source")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// feedItem is an accepted item of the history.
type feedItem struct {
	ID       int64           `json:"feedDataId"`
	Message  string          `json:"messageId"`
	Value    string          `json:"value"`
	Observed string          `json:"observed"`
	Received string          `json:"received"`
	Via      string          `json:"transport"`
	Desired  string          `json:"desiredId,omitempty"`
	Report   string          `json:"reportStatus,omitempty"`
	Sequence int64           `json:"sequenceNumber,omitempty"`
	Warnings json.RawMessage `json:"warnings,omitempty"`
}

func (s *server) showHistory(c *control.Control, w http.ResponseWriter, r *http.Request) error {
	top, err := number(r, "top", 100, 1, 1000)
	if err != nil {
		return err
	}
	before, err := number(r, "before", 0, 0, 1<<53)
	if err != nil {
		return err
	}
	rows, err := c.History(r.Context(), r.PathValue("id"), r.PathValue("source"), int64(before), top)
	if err != nil {
		return err
	}
	all := []feedItem{}
	for _, f := range rows {
		all = append(all, feedItem{f.ID, f.Message, f.Value, nave.Format(f.Observed), nave.Format(f.Received), f.Via, f.Desired, f.Report, f.Sequence, json.RawMessage(f.Warnings)})
	}
	return answer(w, all)
}

// number reads a whole number from the query.
func number(r *http.Request, name string, otherwise, low, high int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, fault.ArgumentInvalid.New("%s is %q, allowed are %d to %d", name, text, low, high)
	}
	return n, nil
}

// desiredState is a desired state as the API shows it.
type desiredState struct {
	ID       string `json:"desiredId"`
	Command  string `json:"commandId"`
	Value    string `json:"value"`
	Sequence int64  `json:"sequenceNumber"`
	Status   string `json:"status"`
	Issued   string `json:"issued"`
	Expires  string `json:"expires,omitempty"`
	Closed   string `json:"closed,omitempty"`
	Reported string `json:"reported,omitempty"`
	Feed     int64  `json:"feedDataId,omitempty"`
	By       string `json:"by"`
	Online   bool   `json:"online"`
	Seen     string `json:"lastSeen,omitempty"`
}

func desiredOf(s *nave.DesiredState) desiredState {
	return desiredState{ID: s.ID, Command: s.Command, Value: s.Value, Sequence: s.Sequence, Status: s.Status, Issued: nave.Format(s.Issued),
		Expires: timeText(s.Expires), Closed: timeText(s.Closed), Reported: s.Reported, Feed: s.Feed, By: s.By}
}

func (s *server) listDesired(c *control.Control, w http.ResponseWriter, r *http.Request) error {
	rows, err := c.DesiredHistory(r.Context(), r.PathValue("id"), r.PathValue("source"), 100)
	if err != nil {
		return err
	}
	all := []desiredState{}
	for _, d := range rows {
		all = append(all, desiredOf(d))
	}
	return answer(w, all)
}

func (s *server) setDesired(c *control.Control, w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Value string `json:"value"`
	}
	if err := readJSON(w, r, &q); err != nil {
		return err
	}
	made, err := c.Set(r.Context(), r.PathValue("id"), r.PathValue("source"), q.Value, "operator")
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, desiredOf(made))
	return nil
}

// followDesired shows a desired state; with wait=30s it waits that long for its
// end.
func (s *server) followDesired(c *control.Control, w http.ResponseWriter, r *http.Request) error {
	wait := time.Duration(0)
	if text := r.URL.Query().Get("wait"); text != "" {
		var err error
		if wait, err = time.ParseDuration(text); err != nil || wait < 0 || wait > maxWait {
			return fault.ArgumentInvalid.New("wait is %q, allowed are 0s to %s", text, maxWait)
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	state, err := c.Await(ctx, r.PathValue("desired"))
	if err != nil {
		return err
	}
	if state.Device != r.PathValue("id") {
		return fault.GenericNotFound.New("the device has no desired state %s", state.ID)
	}
	d, err := c.Device(r.Context(), state.Device)
	if err != nil {
		return err
	}
	out := desiredOf(state)
	out.Online, out.Seen = d.Online(), timeText(d.LastSeen())
	return answer(w, out)
}

// auditEntry is an entry of the audit log.
type auditEntry struct {
	At     string          `json:"at"`
	What   string          `json:"what"`
	Detail json.RawMessage `json:"detail"`
}

func (s *server) listAudit(c *control.Control, w http.ResponseWriter, r *http.Request) error {
	rows, err := c.Audits(r.Context(), r.PathValue("id"), 100)
	if err != nil {
		return err
	}
	all := []auditEntry{}
	for _, a := range rows {
		all = append(all, auditEntry{nave.Format(a.At), a.What, a.Detail})
	}
	return answer(w, all)
}
