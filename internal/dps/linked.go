package dps

import (
	"context"

	"github.com/nave-hub/nave"
)

// Target is a linked IoT hub, in this process (LocalTarget) or behind its
// service API (NewRemote). Errors are those of the hub (fault family hub):
// DeviceNotFound, IotHubUnauthorizedAccess, …; ServiceUnavailable when it cannot
// be reached.
type Target interface {
	// Device reads an identity; DeviceNotFound.
	Device(ctx context.Context, id string) (*nave.Identity, error)
	// Place creates the identity, or overwrites authentication, capabilities
	// and, when one is given, twin of the one that is there; what is so already
	// is not written. It returns the identity as it is then, with its keys.
	Place(ctx context.Context, id string, p *Placement) (*nave.Identity, error)
	// DeleteDevice removes it; one that is not there is no error.
	DeleteDevice(ctx context.Context, id string) error
	// Twin reads tags, desired and, where the hub gives them, reported
	// properties.
	Twin(ctx context.Context, id string) (*nave.Twin, error)
	// Check tries address and rights of the link.
	Check(ctx context.Context) error
	// Near says whether calls stay in this process.
	Near() bool
}

// Placement is what a device is to be on its hub.
type Placement struct {
	Auth nave.Auth // type sas without keys keeps those of the device, or makes new ones
	Edge bool
	Twin *TwinState // nil leaves the twin of an existing device alone
	New  bool       // the twin is for a new device only
}

// TwinState is what an enrolment puts into a new device's twin. Values are kept
// verbatim; a nil part is left alone.
type TwinState struct {
	Tags     nave.Doc
	Desired  nave.Doc
	Reported nave.Doc // of a migrated device; written by hubs in this process only
}

func (t *TwinState) patch() *nave.Patch {
	if t == nil {
		return nil
	}
	return &nave.Patch{Tags: t.Tags, Desired: t.Desired, Reported: t.Reported, Replace: true}
}
