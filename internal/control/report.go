package control

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/store"
)

func itoa(n int) string { return strconv.Itoa(n) }

// acceptReport writes one item that needs a look at more than its source's
// state: a report on a desired state, a local change that may be adopted, a
// value that is no number.
func (d *Device) acceptReport(tx *store.Tx, j *job, now time.Time) error {
	_, _, err := tx.ControlKey(j.row.Source, j.row.Message)
	if err == nil {
		return j.repeat(tx)
	}
	if !errors.Is(err, store.ErrNone) {
		return err
	}
	if j.notNumeric() {
		j.err = Invalid([]FieldError{{j.at + "/value", "format"}})
		return nil
	}
	state, err := tx.ControlState(j.row.Source)
	if errors.Is(err, store.ErrNone) {
		j.gone()
		return nil
	}
	if err != nil {
		return err
	}
	desired, err := d.desiredOf(tx, j)
	if err != nil || j.err != nil {
		return err
	}
	again, err := takeKeys(tx, []*job{j})
	if err != nil {
		return err
	}
	if again != nil { // another node was faster
		return j.repeat(tx)
	}
	j.warnItem(now)
	reported := j.report(state)
	switch {
	case desired != nil:
		err = d.closeDesired(tx, j, desired, now)
	case reported && j.source.Adopt:
		err = d.adopt(tx, j, state, now)
	}
	if err != nil {
		return err
	}
	j.row.Warnings = j.text()
	if err := tx.InsertControlFeed([]*nave.ControlFeedRow{j.row}); err != nil {
		return err
	}
	j.settle(Created, j.row.ID, j.row.Warnings)
	return tx.PutControlState(state)
}

// desiredOf returns the desired state that the report answers, nil for none. A
// wrong one is 4022 (iot-v1 CM-8).
func (d *Device) desiredOf(tx *store.Tx, j *job) (*nave.DesiredState, error) {
	if j.item.Desired == "" {
		return nil, nil
	}
	s, err := tx.Desired(j.item.Desired)
	if err != nil && !errors.Is(err, store.ErrNone) {
		return nil, err
	}
	if err != nil || s.Device != d.ID || s.Source != j.source.No {
		j.err = Invalid([]FieldError{{j.at + "/desired_id", "unknown_reference"}})
		return nil, nil
	}
	return s, nil
}

// closeDesired ends a pending desired state as the report says, and warns when
// it was not pending any more.
func (d *Device) closeDesired(tx *store.Tx, j *job, s *nave.DesiredState, now time.Time) error {
	if j.item.Sequence != 0 && j.item.Sequence != s.Sequence {
		j.warn(SequenceMismatch, map[string]any{"expected": s.Sequence})
	}
	if s.Status == nave.DesiredPending && !s.Expires.IsZero() && !now.Before(s.Expires) {
		s.Status, s.Closed = nave.DesiredExpired, s.Expires
		if err := d.c.closeDesired(tx, s); err != nil {
			return err
		}
	}
	switch s.Status {
	case nave.DesiredPending:
	case nave.DesiredSuperseded:
		j.warn(DesiredSuperseded, nil)
		return nil
	case nave.DesiredExpired:
		j.warn(DesiredExpired, nil)
		return nil
	default:
		j.warn(DesiredAlreadyClosed, nil)
		return nil
	}
	if j.item.Report == nave.DesiredApplied && !SameValue(j.source, j.item.Value, s.Value) {
		j.warn(AppliedValueDiffers, map[string]any{"desired": s.Value})
	}
	s.Status, s.Closed, s.Feed, s.Reported = j.item.Report, now, j.row.ID, j.item.Value
	return d.c.closeDesired(tx, s)
}

// adopt makes a local change the desired value (iot-v1 CM-9, CM-10), unless
// somebody asked for another one after the device observed it.
func (d *Device) adopt(tx *store.Tx, j *job, state *nave.ControlState, now time.Time) error {
	newest, err := tx.NewestDesired(j.source.No)
	switch {
	case errors.Is(err, store.ErrNone):
	case err != nil:
		return err
	case !j.item.Observed.After(newest.Issued):
		return nil
	}
	if err := d.c.supersede(tx, j.source.No, now); err != nil {
		return err
	}
	// From when it was observed, so that the next of several changes that come together, or late, is adopted as well.
	issued := now
	if j.item.Observed.Before(now) {
		issued = j.item.Observed.Truncate(stored)
	}
	before := state.Desired
	state.Desired, state.Sequence = j.item.Value, state.Sequence+1
	s := &nave.DesiredState{ID: nave.NewControlID("des", now), Device: d.ID, Command: j.source.ID, Source: j.source.No, Value: j.item.Value,
		Sequence: state.Sequence, Issued: issued, Status: nave.DesiredApplied, Closed: now, Feed: j.row.ID, Reported: j.item.Value, By: "adoption"}
	if err := tx.InsertDesired(s); err != nil {
		return err
	}
	detail, err := json.Marshal(map[string]any{"commandId": s.Command, "from": before, "to": s.Value, "desiredId": s.ID, "feedDataId": s.Feed, "messageId": j.item.Message})
	if err != nil {
		return err
	}
	d.c.tellDesired(tx, s)
	return tx.AddControlAudit(d.ID, store.ControlAudit{At: now, What: "adopted", Detail: detail})
}
