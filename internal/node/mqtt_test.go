package node_test

import (
	"io"
	"testing"

	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/navetest"
)

// TestLevel5: the port takes MQTT 5.0 for control devices, and still tells a
// device of the hub that it speaks 3.1.1 only, in the form of 3.1.1.
func TestLevel5(t *testing.T) {
	k := navetest.Start(t)
	d := k.Device("d1")
	t.Run("DEV-058 protocol level 5", func(t *testing.T) {
		nc := k.DialMQTT()
		defer nc.Close()
		if _, err := nc.Write((&mqtt.Connect{Level: 5, ClientID: "d1", HasUsername: true, Username: d.Username(), HasPassword: true,
			Password: []byte(d.Token()), Clean: true}).Append(nil)); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(nc); string(got) != "\x20\x02\x00\x01" || err != nil {
			t.Errorf("%x, %v", got, err)
		}
	})
	d.Connect(mqtt.ClientHandler{}).Close()
}
