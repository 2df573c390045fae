// Package bus is what nodes share besides the store: durable event logs, calls
// from one node to whichever serves a subject, and wake-ups.
//
// It is not a message broker for anybody else: no type of NATS leaves the
// package, subjects and streams carry a prefix of ours, and nothing here knows
// what an event means.
//
// A Bus is opened once a process. Without a URL it runs a NATS server inside
// the process, on no port, that stores under Options.Dir and syncs each write;
// calls and wake-ups then never leave the process. With a URL it is a client of
// that cluster and everything works between nodes. No caller can tell the two
// apart.
//
// A Log has a fixed number of partitions; each is one JetStream stream, each
// JetStream message one batch of events. Append encodes an event into the open
// batch of its partition; one goroutine a partition publishes the open batch
// as soon as the batch before it is acknowledged, so batches are as large as
// the disk is slow, and a lone event waits for a single sync. The sequence
// number of an event is that of its batch shifted left by twelve bits, plus its
// place in the batch: it grows, it never changes, and it has gaps.
//
// Delivery is at least once: an append that was refused with ErrUnavailable may
// still turn up when the answer of the storage was lost.
//
// When the embedded storage fails (disk full, sync error), everything that was
// not acknowledged is refused with ErrUnavailable, and the bus restarts the
// server inside the process as soon as a probe file can be written and synced
// again. Whatever was acknowledged is there afterwards.
//
// DESIGN.md gives the reasons and the measurements.
package bus
