package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func dpsCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "dps", Short: "Provision devices: enrolments, groups, registrations, linked hubs",
		Long: `dps manages a provisioning service: the one of the node on this machine or, with
--login and its service connection string, any compatible one.`,
		Example: `  nave dps show
  nave dps enrollment create sensor1
  nave dps register sensor1
  nave dps group create fleet
  nave dps key --group fleet pump-17`, RunE: group}
	c.AddCommand(dpsShow(e), enrollmentCommand(e, individual), enrollmentCommand(e, groups), registrationCommand(e), dpsRegister(e), dpsKey(e),
		certificateCommand(e), dpsHubCommand(e), resourceCommand(e))
	return c
}

func dpsShow(e *env) *cobra.Command {
	return &cobra.Command{Use: "show", Short: "Show what devices and back ends need to reach the service", Args: cobra.NoArgs,
		Example: "  nave dps show\n  nave dps show --output json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.dps(cmd.Context())
			if err != nil {
				return err
			}
			a, err := c.about(cmd.Context())
			if err != nil {
				return err
			}
			if e.json() {
				return e.printJSON(a)
			}
			var hubs []string
			for _, h := range a.Hubs {
				hubs = append(hubs, h.Name)
			}
			facts := []string{"ID scope", a.Scope, "Global endpoint", a.Endpoint, "Service host", a.Host, "Linked hubs", strings.Join(hubs, ", ")}
			if c.login == nil {
				facts = append(facts, "Enrolments", strconv.Itoa(a.Enrollments), "Groups", strconv.Itoa(a.Groups), "Registrations", strconv.Itoa(a.Registrations))
			}
			e.facts(append(facts, "CA file", a.CAFile)...)
			e.block("Service connection string (policy provisioningserviceowner)", a.Service)
			return nil
		}}
}

// compact returns JSON on one line, "" for none.
func compact(raw json.RawMessage) string {
	var v any
	if len(raw) == 0 || json.Unmarshal(raw, &v) != nil {
		return string(raw)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return string(raw)
	}
	return string(b)
}

// more says that a listing was cut.
func (e *env) more(cut bool, n int) {
	if cut {
		e.say("These are the first %d, there are more.", n)
	}
}

// moment shows a time of an answer without its fraction.
func moment(text string) string {
	head, _, ok := strings.Cut(text, ".")
	if _, err := time.Parse(time.RFC3339Nano, text); !ok || err != nil {
		return text
	}
	return head + "Z"
}
