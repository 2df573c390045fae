package hub

import (
	"context"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/gate"
)

// Backend is a service's handle to the hub, bound to its principal. Its methods
// may be called from any goroutine.
type Backend struct {
	hub *Hub
	who *nave.Principal
}

// Backend returns the handle of a service caller, who has been admitted.
func (h *Hub) Backend(who *nave.Principal) *Backend { return &Backend{h, who} }

// Hub returns the hub behind the handle.
func (b *Backend) Hub() *Hub { return b.hub }

// Operator returns the principal of whoever runs the hub: it may do anything.
func Operator() *nave.Principal {
	return &nave.Principal{Name: "operator", Proof: "operator",
		Rights: nave.RegistryRead | nave.RegistryWrite | nave.ServiceConnect | nave.DeviceConnect}
}

func (b *Backend) enter(ctx context.Context, on nave.ID, op *gate.Op, size int) error {
	return b.hub.gate.Enter(ctx, b.who, on, op, size)
}
