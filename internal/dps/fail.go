package dps

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// storeRetry is how long clients wait when the store takes nothing.
const storeRetry = 5 * time.Second

// familyCodes are the codes of the provisioning service by number.
var familyCodes = sync.OnceValue(func() map[int]*fault.Code {
	all := map[int]*fault.Code{}
	for c := range fault.All() {
		if c.Family == fault.DPS {
			all[c.ID] = c
		}
	}
	return all
})

// translated returns err in the family of the provisioning service: faults of
// the gate by their number or status, ServiceUnavailable for a store that takes
// nothing, ServerError for what nobody expected. It is the only place where
// families meet.
func translated(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Challenge](err); ok {
		return err
	}
	if e, ok := errors.AsType[*fault.Error](err); ok && e != nil && e.Code != nil {
		return inFamily(e)
	}
	switch {
	case unavailable(err):
		return fault.DPSServiceUnavailable.Wrap(err, "the provisioning service's store takes no requests now").RetryAfter(storeRetry)
	case errors.Is(err, context.DeadlineExceeded):
		return fault.DPSGenericGatewayTimeout.Wrap(err, "the operation did not end in time").RetryAfter(storeRetry)
	case errors.Is(err, context.Canceled):
		return fault.DPSServiceUnavailable.Wrap(err, "the operation was broken off").RetryAfter(storeRetry)
	}
	return fault.DPSServerError.Wrap(err, "an unexpected error occurred, its cause is in the log under the tracking id").RetryAfter(storeRetry)
}

func inFamily(e *fault.Error) error {
	if e.Code.Family == fault.DPS {
		return e
	}
	code := familyCodes()[e.Code.ID]
	if code == nil {
		code = familyCodes()[e.Code.HTTP*1000+1]
	}
	if code == nil {
		code = familyCodes()[e.Code.HTTP*1000]
	}
	if code == nil {
		code = fault.DPSServerError
	}
	if code == fault.DPSInvalidProtocolVersion && e.Code.ID != code.ID {
		code = fault.DPSArgumentInvalid // 400001 means the api-version here
	}
	n := code.Wrap(e, "%s", e.Text)
	n.Setting, n.Limit, n.Observed, n.Tracking, n.At, n.After = e.Setting, e.Limit, e.Observed, e.Tracking, e.At, e.After
	if n.After == 0 && (code.HTTP == 429 || code.HTTP >= 500) {
		n.After = storeRetry
	}
	return n
}

// unavailable says whether err is the store's and passes with time.
func unavailable(err error) bool {
	if errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return true
	}
	_, network := errors.AsType[net.Error](err)
	return network && !errors.Is(err, context.DeadlineExceeded)
}
