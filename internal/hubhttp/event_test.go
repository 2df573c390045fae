package hubhttp_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/hub"
)

// log follows the partition of one device.
type eventLog struct {
	t      *testing.T
	reader *hub.EventReader
	ready  []*nave.Event
}

func (r *rig) log(device string) *eventLog {
	r.t.Helper()
	reader, err := r.all.Events(context.Background(), nave.Partition(device, r.hub.Partitions()), nave.Position{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(reader.Close)
	return &eventLog{t: r.t, reader: reader}
}

func (l *eventLog) next() *nave.Event {
	l.t.Helper()
	for len(l.ready) == 0 {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var err error
		if l.ready, err = l.reader.Next(ctx); err != nil {
			l.t.Fatal(err)
		}
	}
	e := l.ready[0]
	l.ready = l.ready[1:]
	return e
}

func TestEvents(t *testing.T) {
	r := newRig(t, options{})
	r.create("d1")
	log := r.log("d1")
	post := func(body string, headers ...string) *answer {
		return r.do(ask{verb: "POST", path: "/devices/d1/messages/events", as: "d1", body: body, headers: headers})
	}
	t.Run("DEV-201 stored", func(t *testing.T) {
		post("0123456789").want(t, 204)
		e := log.next()
		if string(e.Body) != "0123456789" || e.From.Device != "d1" || e.Source != nave.Telemetry ||
			e.Auth != `{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}` {
			t.Errorf("stored %+v", e)
		}
	})
	t.Run("DEV-205 properties in headers", func(t *testing.T) {
		post("x", "IoTHub-MessageId: m-1", "iothub-app-k: v", "iothub-app-Key2: v2 (;\"{}", "iothub-correlationid: c", "iothub-userid: u",
			"iothub-creation-time-utc: 2020-01-01T00:00:00Z", "iothub-app-iothub-creation-time-utc: 2020-01-02T00:00:00Z", "dt-subject: comp",
			"iothub-interface-id: i", "iothub-messageschema: s", "iothub-operation: d2c", "iothub-to: /devices/d1/messages/events",
			"iothub-expiry: 2030-01-01T00:00:00Z", "iothub-ack: Full").want(t, 204)
		e := log.next()
		k, _ := e.AppValue("k")
		k2, _ := e.AppValue("key2")
		s := &e.System
		if s.MessageID != "m-1" || k != "v" || k2 != "v2 (;\"{}" || len(e.App) != 2 || s.CorrelationID != "c" || s.UserID != "u" ||
			!strings.HasPrefix(s.Created, "2020-01-0") || s.Subject != "comp" || s.Interface != "i" || s.Schema != "s" || s.Operation != "d2c" ||
			s.To != "" || s.Expiry.Year() != 2030 || s.Ack != nave.AckFull {
			t.Errorf("stored %+v %+v", e.System, e.App)
		}
	})
	t.Run("DEV-206 transport content type", func(t *testing.T) {
		post("{}", "Content-Type: application/json").want(t, 204)
		if e := log.next(); e.System.ContentType != "" {
			t.Errorf("stored %+v", e.System)
		}
	})
	t.Run("DEV-207 message content type", func(t *testing.T) {
		post("{}", "iothub-contenttype: application/json", "iothub-contentencoding: utf-8").want(t, 204)
		if e := log.next(); e.System.ContentType != "application/json" || e.System.ContentEncoding != "utf-8" {
			t.Errorf("stored %+v", e.System)
		}
	})
	t.Run("DEV-208 300 KiB", func(t *testing.T) {
		got := post(strings.Repeat("x", 300<<10))
		got.refused(t, 413, "MessageTooLarge")
		if !strings.Contains(got.body, "limit 262144, setting d2c.maxSize, observed 307200") {
			t.Errorf("got %s", got)
		}
		post(strings.Repeat("x", 256<<10), "iothub-app-k: v").refused(t, 413, "MessageTooLarge")
		post(strings.Repeat("x", 255<<10), "iothub-app-k: v").want(t, 204)
		if e := log.next(); len(e.Body) != 255<<10 {
			t.Errorf("stored %d bytes", len(e.Body))
		}
	})
	const batch = "Content-Type: application/vnd.microsoft.iothub.json"
	t.Run("DEV-209 batches", func(t *testing.T) {
		post(`[{"body":"one","base64Encoded":false,"properties":{"iothub-app-Key":"v","iothub-messageid":"1","dt-subject":"c"}},
			{"body":"dHdv","properties":{"IoTHub-App-k":"w"}},{"body":"dGhyZWU=","base64Encoded":true,"properties":{"iothub-contenttype":"text/plain"}}]`, batch).want(t, 204)
		one, two, three := log.next(), log.next(), log.next()
		key, _ := one.AppValue("Key")
		k, _ := two.AppValue("k")
		if string(one.Body) != "one" || key != "v" || one.System.MessageID != "1" || one.System.Subject != "c" ||
			string(two.Body) != "two" || k != "w" || string(three.Body) != "three" || three.System.ContentType != "text/plain" {
			t.Errorf("stored %+v %+v %+v", one, two, three)
		}
	})
	t.Run("DEV-210 nothing stored of a bad batch", func(t *testing.T) {
		for _, bad := range []string{`[{"body":"QQ=="},{"body":7}]`, `[{"body":"QQ=="},{}]`, `[1]`, `{}`, `[{"body":"QQ==","properties":{"iothub-app-k":1}}]`,
			`[{"body":"QQ==","properties":[]}]`, `[{"body":"QQ==","base64Encoded":1}]`, `[{"body":"QQ==","properties":{"iothub-app-":"x"}}]`,
			`[{"body":"QQ=="},{"body":"QQ==","properties":{"iothub-messageid":"ä"}}]`, `[{"body":"a"b","base64Encoded":false}]`} {
			post(bad, batch).refused(t, 400, "ArgumentInvalid")
		}
		post("[{\"body\":\""+strings.Repeat("x", 256<<10)+"\",\"base64Encoded\":false}]", batch).refused(t, 413, "MessageTooLarge")
	})
	t.Run("DEV-211 empty body", func(t *testing.T) {
		post("").want(t, 204)
		if e := log.next(); len(e.Body) != 0 || len(e.App) != 0 {
			t.Errorf("stored %+v", e)
		}
	})
}

func TestDeviceFaults(t *testing.T) {
	t.Run("DEV-245 faults on request", func(t *testing.T) {
		r := newRig(t, options{hub: func(o *hub.Options) { o.DeviceFaults = true }})
		for _, row := range []struct {
			kind, name string
			status     int
		}{{"InvokeThrottling", "ThrottlingException", 429}, {"InvokeMaxMessageQuota", "IotHubQuotaExceeded", 403}, {"InvokeAuthError", "IotHubUnauthorizedAccess", 401}} {
			r.create(row.kind)
			q := ask{verb: "POST", path: "/devices/" + row.kind + "/messages/events", as: row.kind, headers: []string{"iothub-app-AzIoTHub_FaultOperationType: " + row.kind,
				"iothub-app-AzIoTHub_FaultOperationCloseReason: boom", "iothub-app-AzIoTHub_FaultOperationDurationInSecs: 300"}}
			r.do(q).refused(t, row.status, row.name)
			q.headers = nil
			r.do(q).refused(t, row.status, row.name)
			ahead.Add(int64(301 * time.Second))
			r.do(q).want(t, 204)
		}
	})
	t.Run("DEV-248 switched off https", func(t *testing.T) {
		r := newRig(t, options{})
		r.create("d1")
		r.do(ask{verb: "POST", path: "/devices/d1/messages/events", as: "d1", body: "x",
			headers: []string{"iothub-app-AzIoTHub_FaultOperationType: InvokeThrottling"}}).want(t, 204)
		if v, _ := r.log("d1").next().AppValue("aziothub_faultoperationtype"); v != "InvokeThrottling" {
			t.Errorf("stored %q", v)
		}
	})
}
