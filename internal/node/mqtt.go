package node

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/dpsapi"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/mqtt"
)

// serveMQTT reads CONNECT and chooses the surface: the hub that the client
// dialled, unless the user name is that of a device to be provisioned (dps 2.4)
// or a control device's (iot-v1 ID-1), whose contract allows MQTT 5.0, too, and
// nothing without TLS (iot-v1 MQ-1, MQ-2).
func (n *Node) serveMQTT(ctx context.Context) func(net.Conn, *tls.ConnectionState) {
	return func(nc net.Conn, state *tls.ConnectionState) {
		s := n.site(state.ServerName)
		if s == nil {
			s = n.sites[0]
		}
		defer untilEnd(ctx, nc)()
		ctx, nc := n.meter(ctx, nc, hub.MQTTTraffic)
		session, p, err := mqtt.Accept(nc, mqtt.Options{Versions: mqtt.V311 | mqtt.V5, LooseTopics: true, ConnectTimeout: time.Minute})
		if err != nil {
			s.mqtt.NotAccepted(nc.RemoteAddr(), p, err)
			return
		}
		if n.dps != nil && dpsapi.IsDPS(p.Username) {
			n.dps.mqtt.ServeSession(ctx, session, p, state.PeerCertificates, "mqtt")
			return
		}
		if s.binding != nil && state.HandshakeComplete && strings.HasPrefix(p.Username, "cdv_") {
			s.binding.ServeSession(ctx, session, p, "mqtt")
			return
		}
		s.mqtt.ServeSession(ctx, session, p, state.PeerCertificates, "mqtt")
	}
}
