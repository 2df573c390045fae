package dps

import (
	"context"
	"errors"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// local is a hub of this process.
type local struct{ back *hub.Backend }

// LocalTarget returns a hub of this process as a target.
func LocalTarget(h *hub.Hub) Target { return &local{h.Backend(hub.Operator())} }

func (l *local) Near() bool { return true }

func (l *local) Device(ctx context.Context, id string) (*nave.Identity, error) {
	return l.back.Device(ctx, nave.ID{Device: id})
}

func (l *local) Place(ctx context.Context, id string, p *Placement) (*nave.Identity, error) {
	i, _, err := l.back.Provision(ctx, id, &hub.Provision{Auth: p.Auth, Edge: p.Edge, Twin: p.Twin.patch(), New: p.New})
	return i, err
}

func (l *local) DeleteDevice(ctx context.Context, id string) error {
	err := l.back.Delete(ctx, nave.ID{Device: id}, "")
	if errors.Is(err, fault.DeviceNotFound) {
		return nil
	}
	return err
}

func (l *local) Twin(ctx context.Context, id string) (*nave.Twin, error) {
	v, err := l.back.Twin(ctx, nave.ID{Device: id})
	if err != nil {
		return nil, err
	}
	return v.Twin, nil
}

func (l *local) Check(ctx context.Context) error {
	_, err := l.back.Statistics(ctx)
	return err
}
