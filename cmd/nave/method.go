package main

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func methodCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "method", Short: "Call direct methods of devices and modules",
		Example: "  nave method invoke sensor1 reboot --payload '{\"delay\":5}'", RunE: group}
	c.AddCommand(methodInvoke(e))
	return c
}

// methodFlags are the flags of method invoke.
type methodFlags struct {
	payload          string
	timeout, connect time.Duration
}

func methodInvoke(e *env) *cobra.Command {
	var m methodFlags
	c := &cobra.Command{Use: "invoke DEVICE[/MODULE] METHOD", Short: "Call a method and print the reply", Args: cobra.ExactArgs(2),
		Long: `Invoke calls a direct method and waits for the device. The reply's status is the
device's own; the command fails only when there is no reply.`,
		Example: `  nave method invoke sensor1 reboot
  nave method invoke sensor1 set --payload '{"interval":10}' --timeout 10s --connect-timeout 30s`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return e.completeDevice(cmd, args, start)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return e.invoke(cmd, args[0], args[1], &m) }}
	f := c.Flags()
	f.StringVar(&m.payload, "payload", "", "JSON for the method, @FILE, or - for the standard input")
	f.DurationVar(&m.timeout, "timeout", 30*time.Second, "how long the device may take, 5s to 5m")
	f.DurationVar(&m.connect, "connect-timeout", 0, "how long to wait for the device to come, up to 5m")
	return c
}

func (e *env) invoke(cmd *cobra.Command, text, method string, m *methodFlags) error {
	id, err := anyID(text)
	if err != nil {
		return err
	}
	body := map[string]any{"methodName": method, "responseTimeoutInSeconds": int(m.timeout.Seconds()), "connectTimeoutInSeconds": int(m.connect.Seconds())}
	if m.payload != "" {
		if body["payload"], err = e.value("--payload", m.payload); err != nil {
			return err
		}
	}
	c, err := e.client(cmd.Context())
	if err != nil {
		return err
	}
	wait := e.progress("Waiting for " + id.String())
	wait.note("…")
	var raw json.RawMessage
	err = c.rest(cmd.Context(), request{method: http.MethodPost, path: idPath("/twins", id.Device, id.Module) + "/methods", body: body}, &raw)
	wait.end()
	if err != nil {
		return err
	}
	return e.showReply(raw)
}

func (e *env) showReply(raw json.RawMessage) error {
	if e.json() {
		return e.printRaw(raw)
	}
	var reply struct {
		Status  int
		Payload json.RawMessage
	}
	if err := json.Unmarshal(raw, &reply); err != nil {
		return trouble("Check that the address is one of an IoT hub.", "the answer can't be read: %w", err)
	}
	e.facts("Status", strconv.Itoa(reply.Status), "Payload", string(reply.Payload))
	return nil
}
