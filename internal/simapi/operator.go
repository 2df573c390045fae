package simapi

import (
	"net/http"
	"slices"

	"github.com/nave-hub/nave/internal/oauth"
	"github.com/nave-hub/nave/internal/sim"
)

// operator is a caller that has proved itself elsewhere: no token, no limits,
// every right in one tenant.
type operator struct{ tenant, user string }

// maxOperatorTask is how many products an operator's task may name.
const maxOperatorTask = 10_000

// operatorRoutes are what only an operator may call, besides all other routes.
var operatorRoutes = map[kind][]*route{
	connectivity: {{"POST", "task/{id}/cancel", apiC, rw, optional, (*call).cancelTask}},
}

// Operator returns the same API for an operator of the tenant: it asks for no
// token, counts for no rate limit and no ban, and has every right. The history
// shows the user as actor of type USER. A task may name 10,000 products, and
// POST task/{id}/cancel ends the items of a task that were not started.
func (s *Server) Operator(tenant, user string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, &operator{tenant, user}) })
}

func (c *call) routes() []*route {
	if c.operator == nil {
		return routes[c.place.kind]
	}
	return slices.Concat(operatorRoutes[c.place.kind], routes[c.place.kind])
}

// admitOperator takes the place of the steps 2 and 3.
func (c *call) admitOperator() {
	c.user, c.caller = c.operator.user, oauth.Operator(c.operator.tenant)
}

// maxTask is how many products a task of this caller may name.
func (c *call) maxTask() int {
	if c.operator != nil {
		return maxOperatorTask
	}
	return maxIdentifiers
}

func (c *call) actor() sim.Actor {
	if c.operator != nil {
		return sim.Actor{Type: sim.User, ID: c.operator.user}
	}
	return sim.Actor{Type: sim.Application, ID: c.caller.App}
}

func (c *call) cancelTask() error {
	if err := c.closed(); err != nil {
		return err
	}
	t, err := c.access().CancelTask(c.r.Context(), c.ids[0])
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, c.finish(t))
}
