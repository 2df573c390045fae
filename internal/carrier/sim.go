package carrier

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// simCard is a SIM. Its status is guarded by Carrier.mu.
type simCard struct {
	ICCID  string `json:"iccid"`
	Status string `json:"status"`
	serial int
}

// ICCID returns the 19 digits of a serial number, with the check digit.
func ICCID(serial int) string {
	digits := fmt.Sprintf("8900101%011d", serial)
	sum := 0
	for n := range digits {
		d := int(digits[len(digits)-1-n] - '0')
		if n%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return digits + strconv.Itoa((10-sum%10)%10)
}

// sim returns the SIM of an ICCID, or nil. The caller has mu.
func (c *Carrier) sim(iccid string) *simCard {
	n := sort.Search(len(c.sims), func(n int) bool { return c.sims[n].ICCID >= iccid })
	if n == len(c.sims) || c.sims[n].ICCID != iccid {
		return nil
	}
	return c.sims[n]
}

// Status returns the status of a SIM, "" for one that is not there.
func (c *Carrier) Status(iccid string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sim(iccid); s != nil {
		return s.Status
	}
	return ""
}

// Put gives a SIM a status, any text; a SIM that is not there is added, and one
// whose status is "" is removed.
func (c *Carrier) Put(iccid, status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sim(iccid)
	switch {
	case status == "":
		c.sims = slices.DeleteFunc(c.sims, func(s *simCard) bool { return s.ICCID == iccid })
	case s != nil:
		s.Status = status
	default:
		c.sims = append(c.sims, &simCard{ICCID: iccid, Status: status})
		slices.SortFunc(c.sims, func(a, b *simCard) int { return strings.Compare(a.ICCID, b.ICCID) })
	}
}

// SIMs returns the ICCIDs, sorted.
func (c *Carrier) SIMs() (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sims {
		all = append(all, s.ICCID)
	}
	return all
}

func pair(name, value string) map[string]string {
	return map[string]string{"name": name, "value": value}
}

// word returns the status as it is shown. The caller has mu.
func (x *call) word(s *simCard) string {
	for _, p := range x.c.profiles {
		if p.Name == "status" && p.concerns(x.kind, x.page) {
			return p.Value
		}
	}
	return s.Status
}

// document returns a product. The caller has mu.
func (x *call) document(s *simCard, complete bool) map[string]any {
	id := x.c.o.Reference + "-" + s.ICCID
	p := map[string]any{"id": id, "href": x.c.base + "/product/" + id, "name": "", "isBundle": true, "isCustomerVisible": true,
		"startDate": "2026-01-10T08:00:00.000Z", "status": x.word(s), "connectivityType": "CELLULAR",
		"relatedParty":    []any{map[string]string{"id": "local", "name": "CARRIER", "role": "customer"}},
		"productOffering": map[string]string{"id": "far-500mb", "name": "Far 500 MB"}, "device": nil, "@baseType": "product", "@type": "IoTConnection",
		"productCharacteristic": []any{pair("SYSTEM", x.c.o.Reference), pair("ICCID", s.ICCID), pair("IMSI", imsi(s)), pair("MSISDN", ""), pair("imei", "")}}
	if !complete {
		return p
	}
	part := func(v map[string]any) map[string]any { return map[string]any{"type": "BUNDLED", "product": v} }
	used := map[string]any{"valueName": "1.234 KB", "value": map[string]any{"amount": 1.234, "units": "KB"}, "counterType": "USED",
		"consumptionPeriod": map[string]string{"startDateTime": "2026-03-01T00:00:00.000Z", "endDateTime": "2026-04-01T00:00:00.000Z"}}
	p["productRelationship"] = []any{part(x.card(s)),
		part(map[string]any{"id": id + "-dataConnectivity", "href": "", "isBundle": false, "status": x.word(s), "@baseType": "product", "@type": "dataConnectivity",
			"productCharacteristic": []any{pair("serviceType", "DATA,SMS"), pair("apn", "carrier.test"), pair("connectionState", "DISCONNECTED")}}),
		part(map[string]any{"id": id + "-usageVolume-data", "href": "", "isShared": false, "isBundle": false, "usageType": "DATA", "@baseType": "product",
			"@type": "usageVolume", "bucketCounter": []any{used}})}
	return p
}

func imsi(s *simCard) string { return fmt.Sprintf("00101%010d", s.serial) }

// card returns the SIM card of a product. The caller has mu.
func (x *call) card(s *simCard) map[string]any {
	id := x.c.o.Reference + "-" + s.ICCID + "-simCard"
	return map[string]any{"id": id, "href": x.c.base + "/product/" + id, "isBundle": false, "status": x.word(s), "@baseType": "product", "@type": "simCard",
		"productCharacteristic": []any{pair("dateAdded", "2026-01-09T15:30:00.000Z"), pair("euiccid", ""), pair("ICCID", s.ICCID), pair("imei", ""),
			pair("IMSI", imsi(s)), pair("MSISDN", ""), pair("simNotes", "")}}
}

// monitor is a change that was answered with 202.
type monitor struct {
	id     string
	sim    *simCard
	to     string
	due    time.Time
	status int // of the outcome
}

var settable = []string{"ACTIVE", "SUSPENDED", "BLOCKED", "PENDING_TERMINATE", "TERMINATED"}

// patch changes the status of a SIM card, by JSON Patch or merge patch.
func (x *call) patch(s *simCard) {
	body, err := io.ReadAll(http.MaxBytesReader(x, x.r.Body, 64<<10))
	to := wanted(body)
	switch {
	case err != nil || to == "":
		x.problem(400, "Bad Request", "malformed_json", "The body holds no new status.")
		return
	case !slices.Contains(settable, to):
		x.problem(400, "Missing or malformed parameter", "validation_failed", "%s cannot be requested.", to)
		return
	}
	delay, wait := x.active("async")
	outcome := 200
	if p, ok := x.active("async-fail"); ok {
		delay, wait, outcome = Profile{Value: "0s"}, true, p.number()
	}
	if wait {
		x.accept(&monitor{sim: s, to: to, due: x.c.o.Now().Add(delay.duration()), status: outcome})
		return
	}
	x.c.mu.Lock()
	s.Status = to
	card := x.card(s)
	x.c.mu.Unlock()
	if _, lost := x.active("lost-answer"); lost {
		x.hang()
		return
	}
	x.json(200, card)
}

// wanted returns the status that a patch asks for.
func wanted(body []byte) string {
	var ops []struct{ Op, Path, Value string }
	var merge struct{ Status string }
	if json.Unmarshal(body, &ops) == nil {
		for _, o := range ops {
			if o.Op == "replace" && (o.Path == "/status" || o.Path == "status") {
				return o.Value
			}
		}
	} else if json.Unmarshal(body, &merge) == nil {
		return merge.Status
	}
	return ""
}

func (x *call) accept(m *monitor) {
	c := x.c
	c.mu.Lock()
	for ms := c.o.Now().UnixMilli(); ; ms++ {
		m.id = fmt.Sprintf("%s-%d", m.sim.ICCID, ms)
		if c.monitors[m.id] == nil {
			break
		}
	}
	c.monitors[m.id] = m
	c.mu.Unlock()
	x.Header().Set("Location", c.base+"/monitor/"+m.id)
	x.Header().Set("Retry-After", "2")
	x.json(202, x.view(m, "InProgress", 202, nil))
}

func (x *call) view(m *monitor, state string, status int, body any) map[string]any {
	source := x.c.base + "/product/" + x.c.o.Reference + "-" + m.sim.ICCID + "-simCard"
	return map[string]any{"id": m.id, "href": x.c.base + "/monitor/" + m.id, "sourceHref": source, "state": state, "@type": "monitor",
		"request":  map[string]any{"method": "PATCH", "to": source, "header": []any{}, "body": []any{}},
		"response": map[string]any{"statusCode": status, "header": []any{}, "body": body}}
}

// monitor shows a change; one that is due takes effect then.
func (x *call) monitor(id string) {
	x.c.mu.Lock()
	m := x.c.monitors[id]
	if m == nil {
		x.c.mu.Unlock()
		x.problem(404, "Not Found", "monitor_not_found", "No monitor with id %s.", id)
		return
	}
	over := !x.c.o.Now().Before(m.due)
	if over && m.status == 200 && m.to != "" {
		m.sim.Status, m.to = m.to, ""
	}
	card := x.card(m.sim)
	x.c.mu.Unlock()
	switch {
	case !over:
		x.Header().Set("Retry-After", "2")
		x.json(200, x.view(m, "InProgress", 202, nil))
	case m.status == 200:
		x.json(200, x.view(m, "Completed", 200, card))
	default:
		x.json(200, x.view(m, "InError", m.status, map[string]any{"title": http.StatusText(m.status), "status": m.status, "code": "refused", "detail": "The change failed.", "@type": "problem"}))
	}
}
