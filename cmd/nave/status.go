package main

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
)

// statusAnswer is what the console says of its node.
type statusAnswer struct {
	Version   string            `json:"version"`
	Node      string            `json:"node"`
	Addresses map[string]string `json:"addresses"`
	CAFile    string            `json:"caFile,omitempty"`
	Hubs      []hubAnswer       `json:"hubs"`
}

type hubAnswer struct {
	Host        string `json:"host"`
	Connections int    `json:"connections"`
	Devices     int    `json:"devices"`
	Enabled     int    `json:"enabled"`
	Disabled    int    `json:"disabled"`
	Modules     int    `json:"modules"`
	Connected   int    `json:"connected"`
	Partitions  int    `json:"partitions"`
	Problem     string `json:"problem,omitempty"`
}

// meterAnswer is the account of one operation.
type meterAnswer struct {
	Count   int64            `json:"count"`
	Refused map[string]int64 `json:"refused,omitempty"`
	Units   int64            `json:"units"`
	Bytes   int64            `json:"bytes"`
}

type usageAnswer struct {
	Units      int64                  `json:"unitsToday"`
	Limit      int64                  `json:"unitsLimit,omitempty"`
	Operations map[string]meterAnswer `json:"operations"`
}

func statusCommand(e *env) *cobra.Command {
	return &cobra.Command{Use: "status", Short: "Show the node, its hubs and what they have done", Args: cobra.NoArgs,
		Example: "  nave status\n  nave status --output json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.operator(cmd.Context())
			if err != nil {
				return err
			}
			var s statusAnswer
			if err := c.ask(cmd.Context(), http.MethodGet, "/api/status", nil, &s); err != nil {
				return err
			}
			var u usageAnswer
			if err := c.askHub(cmd.Context(), http.MethodGet, "/usage", nil, &u); err != nil {
				return err
			}
			if e.json() {
				return e.printJSON(struct {
					*statusAnswer
					Usage *usageAnswer `json:"usage"`
				}{&s, &u})
			}
			return e.showStatus(c, &s, &u)
		}}
}

func (e *env) showStatus(c *client, s *statusAnswer, u *usageAnswer) error {
	facts := []string{"Node", s.Node, "Version", s.Version, "CA file", s.CAFile, "Status page", c.base + "/?token=" + url.QueryEscape(c.token)}
	for _, name := range slices.Sorted(maps.Keys(s.Addresses)) {
		facts = append(facts, "Listens: "+name, s.Addresses[name])
	}
	e.facts(facts...)
	e.print("")
	t := newTable("HUB", "CONNECTIONS", "DEVICES", "CONNECTED", "DISABLED", "MODULES", "PARTITIONS")
	for _, h := range s.Hubs {
		t.add(h.Host, strconv.Itoa(h.Connections), strconv.Itoa(h.Devices), strconv.Itoa(h.Connected), strconv.Itoa(h.Disabled), strconv.Itoa(h.Modules), strconv.Itoa(h.Partitions))
		if h.Problem != "" {
			e.say("The counts of %s are missing: %s", h.Host, oneLine(h.Problem))
		}
	}
	if err := e.table(t); err != nil || len(u.Operations) == 0 {
		return err
	}
	e.print("")
	ops := newTable("OPERATIONS OF "+c.host, "DONE", "REFUSED", "UNITS")
	for _, name := range slices.Sorted(maps.Keys(u.Operations)) {
		m := u.Operations[name]
		refused := int64(0)
		for _, n := range m.Refused {
			refused += n
		}
		ops.add(name, strconv.FormatInt(m.Count, 10), strconv.FormatInt(refused, 10), strconv.FormatInt(m.Units, 10))
	}
	return e.table(ops)
}
