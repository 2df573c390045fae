package node_test

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/node"
)

func faulty(c *node.Config) { c.Hub.FaultInjection.Devices = true }

// faultTopic is where a device asks for a fault over MQTT.
func faultTopic(device, kind, delay, duration string) string {
	return "devices/" + device + "/messages/events/AzIoTHub_FaultOperationType=" + kind + "&AzIoTHub_FaultOperationCloseReason=boom&AzIoTHub_FaultOperationDelayInSecs=" +
		delay + "&AzIoTHub_FaultOperationDurationInSecs=" + duration
}

func TestFaults(t *testing.T) {
	t.Parallel()
	k := navetest.Start(t, faulty)
	t.Run("DEV-233 KillTcp", func(t *testing.T) {
		t.Parallel()
		d := k.Device("d233")
		c := connect(t, k, d)
		from := time.Now()
		c.publish(faultTopic("d233", "KillTcp", "5", "5"), 1, "")
		c.send("d233", 2, "meanwhile") // it alone is acknowledged
		err := await(t, c.closed, "end of the connection")
		if took := time.Since(from); took < 5*time.Second {
			t.Errorf("closed after %v", took)
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("closed by %v, want a reset", err)
		}
		if len(c.acked) > 0 {
			t.Errorf("PUBACK %d", <-c.acked)
		}
		connect(t, k, d).send("d233", 3, "back")
	})
	t.Run("DEV-235 ShutDownMqtt", func(t *testing.T) {
		t.Parallel()
		d := k.Device("d235")
		c := connect(t, k, d)
		from := time.Now()
		c.publish(faultTopic("d235", "shutdownmqtt", "1", "5"), 1, "")
		err := await(t, c.closed, "end of the connection")
		if took := time.Since(from); took < time.Second || !errors.Is(err, io.EOF) {
			t.Errorf("closed after %v by %v, want an orderly end", took, err)
		}
		connect(t, k, d).send("d235", 3, "back")
	})
	t.Run("DEV-245 faults over HTTPS", func(t *testing.T) {
		for kind, want := range map[string]struct {
			status int
			code   string
		}{
			"InvokeThrottling":      {429, "ThrottlingException"},
			"InvokeMaxMessageQuota": {403, "IotHubQuotaExceeded"},
			"InvokeAuthError":       {401, "IotHubUnauthorizedAccess"},
		} {
			d := k.Device("d245" + kind)
			r := k.REST("POST", "/devices/"+d.ID.Device+"/messages/events", "x", "Authorization: "+d.Token(), "iothub-app-AzIoTHub_FaultOperationType: "+kind,
				"iothub-app-AzIoTHub_FaultOperationCloseReason: boom", "iothub-app-AzIoTHub_FaultOperationDelayInSecs: 0", "iothub-app-AzIoTHub_FaultOperationDurationInSecs: 5")
			if r.Status != want.status || !strings.Contains(string(r.Body), want.code) {
				t.Errorf("%s: %d %s", kind, r.Status, r.Body)
			}
			k.Clock.Add(6 * time.Second)
			if r := k.REST("POST", "/devices/"+d.ID.Device+"/messages/events", "x", "Authorization: "+d.Token()); r.Status != 204 {
				t.Errorf("%s, when it is over: %d %s", kind, r.Status, r.Body)
			}
		}
	})
	t.Run("DEV-246 InvokeThrottling over MQTT", func(t *testing.T) {
		d := k.Device("d246")
		c := connect(t, k, d)
		c.publish(faultTopic("d246", "InvokeThrottling", "0", "20"), 1, "")
		await(t, c.closed, "end of the connection")
		if len(c.acked) > 0 {
			t.Error("a PUBACK came")
		}
		connect(t, k, d).send("d246", 2, "back at once")
	})
}

func TestFaultsOff(t *testing.T) {
	k := navetest.Start(t)
	t.Run("DEV-248 the feature is off", func(t *testing.T) {
		d := k.Device("d1")
		c := connect(t, k, d)
		c.publish(faultTopic("d1", "KillTcp", "0", "1"), 1, "harmless")
		await(t, c.acked, "PUBACK")
		e := k.Events(1, telemetry)[0]
		p, _ := e.AppValue("AzIoTHub_FaultOperationType")
		if string(e.Body) != "harmless" || p != "KillTcp" {
			t.Errorf("stored %s with %+v", e.Body, e.App)
		}
	})
}
