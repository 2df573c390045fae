package hub

import (
	"context"
	"encoding/json"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/fault"
)

// note is a wake-up between nodes. It may be lost: whoever misses it finds the
// state in the store.
type note struct {
	Node    string
	Kind    noteKind
	On      nave.ID
	Desired json.RawMessage `json:",omitempty"`
	Version int64           `json:",omitempty"`
	Code    int             `json:",omitempty"`
	Text    string          `json:",omitempty"`
	Family  fault.Family    `json:",omitempty"` // of Code
	Detail  map[string]any  `json:",omitempty"`
	Kinds   Kind            `json:",omitempty"` // of noteTaken
	Number  uint64          `json:",omitempty"` // of the claim that noteTaken tells of

	Group     string `json:",omitempty"`
	Partition int    `json:",omitempty"`
	Epoch     int64  `json:",omitempty"`
}

type noteKind string

const (
	noteC2D      noteKind = "c2d"
	noteDesired  noteKind = "desired"
	noteMethods  noteKind = "methods"
	noteFeedback noteKind = "feedback"
	noteExpel    noteKind = "expel"

	noteConnectivity noteKind = "connectivity"

	noteAuth  noteKind = "auth"
	noteTaken noteKind = "taken"

	noteReading   noteKind = "reading"
	noteGroupGone noteKind = "groupGone"
)

func (h *Hub) noteSubject() string { return "hub." + bus.Word(h.o.Host) }

func (h *Hub) tell(n note) {
	n.Node = h.bus.Node()
	h.bus.Tell(h.noteSubject(), n)
}

func (h *Hub) listen() error {
	stop, err := h.bus.Listen(h.noteSubject(), h.heard)
	if err != nil {
		return err
	}
	h.off = append(h.off, stop)
	if stop, err = h.bus.Serve(h.callSubject(h.bus.Node()), h.serveCall); err == nil {
		h.off = append(h.off, stop)
	}
	return err
}

func (h *Hub) heard(in []byte) {
	var n note
	if err := json.Unmarshal(in, &n); err != nil {
		return
	}
	if n.Node == h.bus.Node() {
		if n.Kind == noteTaken {
			h.echoed(&n)
		}
		return
	}
	switch n.Kind {
	case noteC2D:
		h.wakeHere(n.On)
	case noteDesired:
		if d, err := nave.ParseDoc(n.Desired); err == nil {
			h.desiredHere(n.On, &nave.Change{Desired: d, Version: n.Version})
		}
	case noteMethods:
		h.seenAt(&n)
	case noteTaken:
		h.takenElsewhere(&n)
	case noteFeedback:
		h.feedbackHere()
	case noteExpel:
		h.expel(n.On, n.fault())
	case noteConnectivity:
		h.obey(n.On.Device)
	case noteReading:
		h.readerElsewhere(readingPlace{n.Group, n.Partition}, n.Epoch)
	case noteGroupGone:
		h.groupGoneHere(n.Group)
	case noteAuth:
		if err := h.loadAuth(context.WithoutCancel(h.ctx)); err != nil {
			h.o.Log.Error("policies could not be read again", "hub", h.o.Host, "err", err)
		}
	}
}

// wake starts the delivery of queued messages wherever the device is.
func (h *Hub) wake(id nave.ID) {
	h.wakeHere(id)
	h.tell(note{Kind: noteC2D, On: id})
}

func (h *Hub) wakeHere(id nave.ID) {
	if l := h.holder(id, Commands); l != nil {
		l.pull()
	}
}

// fault returns what another node has told; a newer one may know more codes.
func (n *note) fault() *fault.Error {
	code := fault.Lookup(n.Code, n.Family)
	if code == nil {
		code = fault.DeviceDisabled
	}
	e := code.New("%s", n.Text)
	e.Detail = n.Detail
	return e
}

// cutOff ends the lines of an identity on every node.
func (h *Hub) cutOff(id nave.ID, why *fault.Error) {
	h.expel(id, why)
	h.tell(note{Kind: noteExpel, On: id, Code: why.Code.ID, Family: why.Code.Family, Text: why.Text, Detail: why.Detail})
}
