package console

import (
	"net/http"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// rule is a fault-injection rule as the API shows it.
type rule struct {
	ID          string       `json:"id,omitempty"`
	Op          string       `json:"op,omitempty"`
	Device      string       `json:"deviceId,omitempty"`
	Module      string       `json:"moduleId,omitempty"`
	Code        int          `json:"code"`
	Name        string       `json:"name,omitempty"` // of the code; ignored in requests
	Family      fault.Family `json:"family,omitempty"`
	Text        string       `json:"text,omitempty"`
	After       string       `json:"retryAfter,omitempty"` // a duration: "5s"
	Count       int          `json:"count,omitempty"`      // strikes that are left, 0: no end
	Probability float64      `json:"probability,omitempty"`
	Until       *time.Time   `json:"until,omitempty"`
}

func ruleOf(r hub.Rule) rule {
	out := rule{ID: r.ID, Op: r.Op, Device: r.Device, Module: r.Module, Code: r.Code, Family: r.Family, Text: r.Text,
		Count: r.Count, Probability: r.Probability}
	if c := fault.Lookup(r.Code, r.Family); c != nil {
		out.Name = c.Name
	}
	if r.After > 0 {
		out.After = r.After.String()
	}
	if !r.Until.IsZero() {
		out.Until = &r.Until
	}
	return out
}

func (r *rule) rule() (out hub.Rule, err error) {
	out = hub.Rule{ID: r.ID, Op: r.Op, Device: r.Device, Module: r.Module, Code: r.Code, Family: r.Family, Text: r.Text,
		Count: r.Count, Probability: r.Probability}
	if r.After != "" {
		if out.After, err = time.ParseDuration(r.After); err != nil {
			return out, fault.ArgumentInvalid.New("retryAfter is %q, expected is a duration such as 5s", r.After)
		}
	}
	if r.Until != nil {
		out.Until = *r.Until
	}
	return out, nil
}

func (s *server) listFaults(h *hub.Hub, w http.ResponseWriter, _ *http.Request) error {
	all := []rule{}
	for _, r := range h.Faults() {
		all = append(all, ruleOf(r))
	}
	return answer(w, all)
}

func (s *server) addFault(h *hub.Hub, w http.ResponseWriter, r *http.Request) error {
	var q rule
	if err := readJSON(w, r, &q); err != nil {
		return err
	}
	wanted, err := q.rule()
	if err != nil {
		return err
	}
	added, err := h.InjectFault(wanted)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, ruleOf(added))
	return nil
}

func (s *server) removeFault(h *hub.Hub, w http.ResponseWriter, r *http.Request) error {
	if err := h.RemoveFault(r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *server) clearFaults(h *hub.Hub, w http.ResponseWriter, _ *http.Request) error {
	h.ClearFaults()
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// usage is what GET …/usage answers.
type usage struct {
	Units      int64     `json:"unitsToday"`           // message units used since 00:00 UTC
	Limit      int64     `json:"unitsLimit,omitempty"` // 0: none is enforced
	Operations hub.Usage `json:"operations"`
}

func (s *server) showUsage(h *hub.Hub, w http.ResponseWriter, _ *http.Request) error {
	all, used, limit := h.Usage()
	return answer(w, usage{used, limit, all})
}
