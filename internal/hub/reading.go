package hub

import (
	"context"
	"strings"
	"sync"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// NoEpoch is the epoch of a reader that shares its partition with others.
const NoEpoch = -1

// maxReaders is how many readers without epoch may share a partition in one
// consumer group (service-api 4.4).
const maxReaders = 5

// ErrTooManyReaders is the cause of a refusal for want of a place.
var ErrTooManyReaders error = errTooManyReaders{}

type errTooManyReaders struct{}

func (errTooManyReaders) Error() string { return "too many readers" }

// Reading is a reader's place at one partition in one consumer group.
type Reading struct {
	// Set by JoinGroup, then read only:
	hub   *Hub
	at    readingPlace
	epoch int64
	end   func(why *fault.Error)
}

type readingPlace struct {
	group     string // in lower case
	partition int
}

// readings are the places taken on this node.
type readings struct {
	mu  sync.Mutex
	all map[readingPlace][]*Reading
}

// JoinGroup takes a place at the partition. A reader with an epoch displaces
// those with none, a lower or the same one: their end is called, once, from any
// goroutine, with LinkCreationConflict. Readers on other nodes are displaced by
// a wake-up, so both may read for a moment. Answers: LinkCreationConflict when a
// higher epoch reads, or any while this one has none; GenericForbidden, caused
// by ErrTooManyReaders, for the sixth without epoch.
func (b *Backend) JoinGroup(ctx context.Context, group string, partition int, epoch int64, end func(why *fault.Error)) (*Reading, error) {
	if err := b.enter(ctx, nave.ID{}, &opEvents, 0); err != nil {
		return nil, err
	}
	if err := b.checkPartition(partition); err != nil {
		return nil, err
	}
	h := b.hub
	r := &Reading{hub: h, at: readingPlace{strings.ToLower(group), partition}, epoch: max(epoch, NoEpoch), end: end}
	lost, err := h.readings.join(r)
	if err != nil {
		return nil, err
	}
	for _, l := range lost {
		l.end(stolen(r.at, r.epoch))
	}
	h.tell(note{Kind: noteReading, Group: r.at.group, Partition: partition, Epoch: r.epoch})
	return r, nil
}

func (s *readings) join(r *Reading) (lost []*Reading, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	here := s.all[r.at]
	if top := highest(here); top > r.epoch {
		return nil, stolen(r.at, top)
	}
	if r.epoch == NoEpoch && len(here) >= maxReaders {
		return nil, fault.GenericForbidden.Wrap(ErrTooManyReaders, "partition %d has %d readers in the consumer group %s, more are not allowed", r.at.partition, len(here), r.at.group)
	}
	if r.epoch > NoEpoch {
		lost, here = here, nil
	}
	if s.all == nil {
		s.all = map[readingPlace][]*Reading{}
	}
	s.all[r.at] = append(here[:len(here):len(here)], r)
	return lost, nil
}

func highest(all []*Reading) int64 {
	top := int64(NoEpoch)
	for _, r := range all {
		top = max(top, r.epoch)
	}
	return top
}

func stolen(at readingPlace, epoch int64) *fault.Error {
	return fault.LinkCreationConflict.New("a reader with epoch %d reads partition %d in the consumer group %s", epoch, at.partition, at.group)
}

// Leave gives the place back; it may be called more than once.
func (r *Reading) Leave() {
	s := &r.hub.readings
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := make([]*Reading, 0, len(s.all[r.at]))
	for _, o := range s.all[r.at] {
		if o != r {
			kept = append(kept, o)
		}
	}
	if s.all[r.at] = kept; len(kept) == 0 {
		delete(s.all, r.at)
	}
}

// readerElsewhere takes note of a reader that another node let in. Whoever is
// the weaker of the two has to leave: that is told back when it is the other.
func (h *Hub) readerElsewhere(at readingPlace, epoch int64) {
	s := &h.readings
	s.mu.Lock()
	here := s.all[at]
	top := highest(here)
	var lost []*Reading
	if epoch > NoEpoch && epoch >= top {
		lost = here
		delete(s.all, at)
	}
	s.mu.Unlock()
	for _, r := range lost {
		r.end(stolen(at, epoch))
	}
	if top > epoch {
		h.tell(note{Kind: noteReading, Group: at.group, Partition: at.partition, Epoch: top})
	}
}

// groupGone ends the readers of a deleted consumer group on every node.
func (h *Hub) groupGone(name string) {
	h.groupGoneHere(name)
	h.tell(note{Kind: noteGroupGone, Group: name})
}

func (h *Hub) groupGoneHere(name string) {
	s := &h.readings
	s.mu.Lock()
	var lost []*Reading
	for at, here := range s.all {
		if strings.EqualFold(at.group, name) {
			lost = append(lost, here...)
			delete(s.all, at)
		}
	}
	s.mu.Unlock()
	for _, r := range lost {
		r.end(fault.AmqpAddressNotFound.New("the consumer group %s was deleted", name))
	}
}
