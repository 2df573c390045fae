package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

// Device is an identity with its key. One that was provisioned has the host of its hub, otherwise it is the service's, and the registration
// id it was provisioned by.
type Device struct{ ID, Key, Host, Registration string }

// Devices makes n identities prefix0000 to …, each with a new key; nothing is created on the hub.
func Devices(prefix string, n int) []Device {
	digits, all := max(4, len(strconv.Itoa(n-1))), make([]Device, n)
	for i := range all {
		all[i] = Device{ID: fmt.Sprintf("%s%0*d", prefix, digits, i), Key: cred.NewKey()}
	}
	return all
}

type symmetricKey struct {
	Primary   string `json:"primaryKey"`
	Secondary string `json:"secondaryKey"`
}

type authentication struct {
	Type         string       `json:"type"`
	SymmetricKey symmetricKey `json:"symmetricKey"`
}

type bulkItem struct {
	ID             string          `json:"id"`
	ImportMode     string          `json:"importMode"`
	Status         string          `json:"status,omitempty"`
	Authentication *authentication `json:"authentication,omitempty"`
}

// Create registers the devices, 100 a call, and returns those that it registered, also with an error. One that exists is an *ExistsError,
// or with reuse gets the new key. step may be nil.
func (s *Service) Create(ctx context.Context, devices []Device, reuse bool, step func(done, total int)) (created []Device, err error) {
	mode := "create"
	if reuse {
		mode = "createOrUpdate"
	}
	return s.bulk(ctx, devices, step, func(d Device) bulkItem {
		return bulkItem{ID: d.ID, ImportMode: mode, Status: "enabled",
			Authentication: &authentication{Type: "sas", SymmetricKey: symmetricKey{Primary: d.Key, Secondary: cred.NewKey()}}}
	})
}

// Delete removes the devices; step may be nil.
func (s *Service) Delete(ctx context.Context, devices []Device, step func(done, total int)) error {
	_, err := s.bulk(ctx, devices, step, func(d Device) bulkItem { return bulkItem{ID: d.ID, ImportMode: "delete"} })
	return err
}

// ExistsError says that devices were there already, and were left as they are.
type ExistsError struct {
	Device string // one of them
	Count  int    // at least so many
}

// Error names one device.
func (e *ExistsError) Error() string {
	return fmt.Sprintf("the hub has a device %s already (%d of them at least)", e.Device, e.Count)
}

const codeExists = 409001 // DeviceAlreadyExists

// bulkResult is the answer to a bulk call (service-api 2.5).
type bulkResult struct {
	Errors []struct {
		DeviceID string          `json:"deviceId"`
		Code     json.RawMessage `json:"errorCode"`
		Status   string          `json:"errorStatus"`
	} `json:"errors"`
}

// bulk returns the devices for which it worked; it ends with the first call that failed for one.
func (s *Service) bulk(ctx context.Context, devices []Device, step func(done, total int), item func(Device) bulkItem) (done []Device, err error) {
	for at := 0; at < len(devices); at += bulkItems {
		part := devices[at:min(at+bulkItems, len(devices))]
		items := make([]bulkItem, len(part))
		for i, d := range part {
			items[i] = item(d)
		}
		body, err := json.Marshal(items)
		if err != nil {
			return done, err
		}
		if err := s.patient(ctx, "POST", "/devices", body); err != nil {
			var status *StatusError
			if errors.As(err, &status) && status.Status == 400 {
				return partial(done, part, status)
			}
			return done, fmt.Errorf("devices %s to %s: %w", part[0].ID, part[len(part)-1].ID, err)
		}
		done = append(done, part...)
		if step != nil {
			step(at+len(part), len(devices))
		}
	}
	return done, nil
}

// partial reads an answer by which some items failed; the others are done.
func partial(done, part []Device, status *StatusError) ([]Device, error) {
	var r bulkResult
	if json.Unmarshal(status.body, &r) != nil || len(r.Errors) == 0 {
		return done, status
	}
	failed, exist := map[string]bool{}, 0
	for _, e := range r.Errors {
		failed[e.DeviceID] = true
		if string(e.Code) == strconv.Itoa(codeExists) {
			exist++
		}
	}
	for _, d := range part {
		if !failed[d.ID] {
			done = append(done, d)
		}
	}
	first := r.Errors[0]
	if exist == len(r.Errors) {
		return done, &ExistsError{Device: first.DeviceID, Count: exist}
	}
	return done, fmt.Errorf("device %s: %s %s", first.DeviceID, first.Code, first.Status)
}

// Login makes what the device says in CONNECT (device-protocols 1.6), with a token that lives so long.
func (s *Service) Login(d Device, life time.Duration) (Login, error) {
	host := orDefault(d.Host, s.host)
	token, err := cred.Sign(host+"/devices/"+d.ID, d.Key, "", time.Now().Add(life))
	if err != nil {
		return Login{}, err
	}
	return Login{ClientID: d.ID, Username: host + "/" + d.ID + "/?api-version=" + apiVersion, Password: []byte(token),
		Topic: "devices/" + d.ID + "/messages/events/"}, nil
}

// Logins is Login for all devices.
func (s *Service) Logins(devices []Device) ([]Login, error) {
	all := make([]Login, len(devices))
	for i, d := range devices {
		var err error
		if all[i], err = s.Login(d, 24*time.Hour); err != nil {
			return nil, err
		}
	}
	return all, nil
}
