package console

import (
	"net/http"

	"github.com/nave-hub/nave/internal/hub"
)

// consumerGroup is a consumer group as the API shows it.
type consumerGroup struct {
	Name string `json:"name"`
}

func (s *server) listGroups(h *hub.Hub, w http.ResponseWriter, r *http.Request) error {
	names, err := h.Backend(hub.Operator()).Groups(r.Context())
	if err != nil {
		return err
	}
	all := make([]consumerGroup, 0, len(names))
	for _, name := range names {
		all = append(all, consumerGroup{name})
	}
	return answer(w, all)
}

// putGroup creates the consumer group that the path names; one that exists
// stays as it is.
func (s *server) putGroup(h *hub.Hub, w http.ResponseWriter, r *http.Request) error {
	b, name := h.Backend(hub.Operator()), r.PathValue("name")
	if err := b.CreateGroup(r.Context(), name); err != nil {
		return err
	}
	name, _, err := b.Group(r.Context(), name)
	if err != nil {
		return err
	}
	return answer(w, consumerGroup{name})
}

func (s *server) deleteGroup(h *hub.Hub, w http.ResponseWriter, r *http.Request) error {
	if err := h.Backend(hub.Operator()).DeleteGroup(r.Context(), r.PathValue("name")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
