package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/node"
)

func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, set := range []func(*node.Config){
		func(c *node.Config) { c.Listen.HTTPS = l.Addr().String() },
		func(c *node.Config) { c.Listen.MQTT = l.Addr().String() },
		func(c *node.Config) { c.Listen.AMQP = l.Addr().String() },
		func(c *node.Config) { c.Listen.Console = l.Addr().String() },
	} {
		c := navetest.Configure(t, set)
		n, err := node.Start(context.Background(), c, node.Options{Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			n.Close()
			t.Fatal("the node has started")
		}
		for _, want := range []string{l.Addr().String(), "is in use", "choose another address"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v lacks %q", err, want)
			}
		}
		// Nothing is left that would be in the way of the next start.
		c.Listen.HTTPS, c.Listen.MQTT, c.Listen.AMQP, c.Listen.Console = "127.0.0.1:0", "off", "off", "off"
		navetest.Run(t, c).Close()
	}
}

// TestPortWithoutRights starts nodes as a user who may not use low ports.
func TestPortWithoutRights(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	if text, _ := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); strings.TrimSpace(string(text)) != "1024" {
		t.Skipf("here everybody may use port 443: ip_unprivileged_port_start is %s", text)
	}
	for _, test := range []struct{ https, mqtt, want string }{
		{":443", "off", "8443 Port 443 needs rights that this process lacks, so HTTPS and WebSockets listen on 8443."},
		{"127.0.0.1:443", "off", "error: the address 127.0.0.1:443 needs rights"},
		{"off", "127.0.0.1:883", "choose a port above 1023"},
	} {
		dir, err := os.MkdirTemp("", "nave-port")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		set, _ := json.Marshal(map[string]any{"data": dir, "listen.https": test.https, "listen.mqtt": test.mqtt, "listen.amqp": "off", "listen.console": "off"})
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "NAVE_TEST_CHILD=bind", "NAVE_TEST_SET="+string(set))
		out, err := c.CombinedOutput()
		if strings.Contains(string(out), "0.0.0.0:8443 is in use") || strings.Contains(string(out), ":8443 is in use") {
			t.Skip("port 8443 is taken by another program")
		}
		if err != nil || !strings.Contains(string(out), test.want) {
			t.Errorf("%+v: %s, %v", test, out, err)
		}
	}
}

const nobody = 65534

// bindChild starts a node as nobody and prints its HTTPS port and notes, or why
// it does not start.
func bindChild() {
	err := syscall.Setgroups(nil)
	if err == nil {
		err = syscall.Setgid(nobody)
	}
	if err == nil {
		err = syscall.Setuid(nobody)
	}
	var set map[string]any
	if err == nil {
		err = json.Unmarshal([]byte(os.Getenv("NAVE_TEST_SET")), &set)
	}
	var c *node.Config
	if err == nil {
		c, err = node.Load("", nil, set)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	n, err := node.Start(context.Background(), c, node.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	_, port, _ := net.SplitHostPort(n.Address("https"))
	fmt.Println(port, strings.Join(n.Notes(), "\n"))
	n.Close()
}
