package node

import "github.com/nave-hub/nave/internal/hubmqtt"

// findMQTT returns the surface of the hub that a user name calls, nil when no
// hub of this process has that name.
func (n *Node) findMQTT(host string) *hubmqtt.Server {
	if s := n.site(host); s != nil {
		return s.mqtt
	}
	return nil
}
