package main

import (
	"context"
	"net"

	"github.com/nave-hub/nave/internal/node"
)

// welcomeDPS prints what devices and back ends need to reach the provisioning
// service, in a form to copy.
func (e *env) welcomeDPS(ctx context.Context, n *node.Node) error {
	s := n.DPS()
	if s == nil {
		return nil
	}
	e.print("")
	e.print("%s", paint(e.colorOut, bold, "Provisioning service (DPS)"))
	e.facts("ID scope", s.Scope(), "Global endpoint", s.Host())
	service, err := s.OwnerConnection(ctx)
	if err == nil { // the policy may have been removed
		e.block("Service connection string of the provisioning service (policy provisioningserviceowner)", service)
	}
	if !dialled(s.Host()) {
		e.say("%s %s is no address of this machine, so that devices can't dial the provisioning service there. Make it one ('sudo ifconfig lo0 alias %s' on macOS), or give the service another name by the setting dps.host.",
			paint(e.colorErr, yellow, "Note:"), s.Host(), s.Host())
	}
	return nil
}

// dialled says whether a loopback address is one of this machine: macOS has only
// 127.0.0.1 unless told otherwise.
func dialled(host string) bool {
	ip := net.ParseIP(host)
	if ip == nil || !ip.IsLoopback() {
		return true
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return false
	}
	l.Close()
	return true
}
