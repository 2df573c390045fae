package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// offeringAnswer is a tariff.
type offeringAnswer struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Account    string `json:"account"`
	Period     string `json:"billingPeriod"`
	Limit      *int64 `json:"dataLimitBytes"`
	OnLimit    string `json:"onLimit"`
	Activation string `json:"activation"`
	IMEILock   bool   `json:"imeiLock"`
}

func (o *offeringAnswer) limit() string {
	if o.Limit == nil {
		return "none"
	}
	return strconv.FormatInt(*o.Limit, 10)
}

func simOffering(e *env) *cobra.Command {
	c := &cobra.Command{Use: "offering", Short: "Tariffs: data volume, period, activation", Aliases: []string{"offerings"}, RunE: group,
		Example: "  nave sim offering list\n  nave sim offering create off-500mb --name '500 MB monthly' --limit 500000000 --on-limit suspend"}
	c.AddCommand(&cobra.Command{Use: "list", Short: "List the offerings", Args: cobra.NoArgs, Aliases: []string{"ls"}, Example: "  nave sim offering list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var found struct {
				Entities []offeringAnswer `json:"entities"`
			}
			_, told, err := e.simCall(cmd.Context(), simRequest{method: http.MethodGet, path: "/productOffering", query: url.Values{"pageSize": {"1000"}}}, &found)
			if err != nil || told {
				return err
			}
			t := newTable("OFFERING", "NAME", "ACCOUNT", "PERIOD", "LIMIT", "AT THE LIMIT", "ACTIVATION", "IMEI LOCK")
			for _, o := range found.Entities {
				t.add(o.ID, o.Name, o.Account, o.Period, o.limit(), o.OnLimit, o.Activation, strconv.FormatBool(o.IMEILock))
			}
			return e.table(t)
		}}, &cobra.Command{Use: "show OFFERING", Short: "Show an offering", Args: cobra.ExactArgs(1), Example: "  nave sim offering show off-default",
		RunE: func(cmd *cobra.Command, args []string) error {
			var o offeringAnswer
			_, told, err := e.simCall(cmd.Context(), simRequest{method: http.MethodGet, path: "/productOffering/" + url.PathEscape(args[0])}, &o)
			if err == nil && !told {
				e.showOffering(&o)
			}
			return err
		}}, offeringChange(e, true), offeringChange(e, false))
	return c
}

func (e *env) showOffering(o *offeringAnswer) {
	e.facts("Offering", o.ID, "Name", o.Name, "Account", o.Account, "Period", o.Period, "Data limit", o.limit(), "At the limit", o.OnLimit,
		"Activation", o.Activation, "IMEI lock", strconv.FormatBool(o.IMEILock))
}

// offeringChange is create or update.
func offeringChange(e *env, create bool) *cobra.Command {
	use, short, method := "update OFFERING", "Change an offering", http.MethodPatch
	example := "  nave sim offering update off-500mb --limit 600000000"
	if create {
		use, short, method = "create OFFERING", "Make an offering for the platform inside the hub", http.MethodPost
		example = "  nave sim offering create off-500mb --name '500 MB monthly' --limit 500000000 --on-limit suspend"
	}
	text, limit, lock, account := map[string]*string{}, int64(0), false, ""
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1), Example: example}
	f := c.Flags()
	for flag, row := range map[string][2]string{"name": {"name", "name for people"}, "period": {"billingPeriod", "calendar_month, rolling_24h or bucket"},
		"on-limit": {"onLimit", "notify or suspend"}, "activation": {"activation", "immediate, or first_use: when the device connects"}} {
		text[row[0]] = f.String(flag, "", row[1])
	}
	f.Int64Var(&limit, "limit", 0, "bytes a period; 0: none")
	f.BoolVar(&lock, "imei-lock", false, "tie a SIM to the first IMEI seen")
	if create {
		f.StringVar(&account, "account", "HUBSIM_1", "platform account")
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		body, path := map[string]any{}, "/productOffering"
		for name, value := range text {
			if *value != "" {
				if body[name] = strings.ToUpper(*value); name == "name" {
					body[name] = *value
				}
			}
		}
		if f.Changed("imei-lock") {
			body["imeiLock"] = lock
		}
		switch {
		case limit > 0:
			body["dataLimitBytes"] = limit
		case f.Changed("limit"):
			body["dataLimitBytes"] = nil
		}
		if create {
			body["id"], body["account"] = args[0], account
			if body["name"] == nil {
				body["name"] = args[0]
			}
		} else {
			path += "/" + url.PathEscape(args[0])
		}
		var o offeringAnswer
		_, told, err := e.simCall(cmd.Context(), simRequest{method: method, path: path, body: body}, &o)
		if err == nil && !told {
			e.showOffering(&o)
		}
		return err
	}
	return c
}

// platformAnswer is a platform account.
type platformAnswer struct {
	Account  string   `json:"account"`
	Platform string   `json:"platform"`
	Adapter  string   `json:"adapter"`
	Enabled  bool     `json:"enabled"`
	Mode     string   `json:"statusChangeMode"`
	Settable []string `json:"settableStatus"`
	Able     []string `json:"capabilities"`
	Health   struct {
		State   string  `json:"state"`
		Success string  `json:"lastSuccess"`
		Failure string  `json:"lastFailure"`
		Class   *string `json:"lastFailureClass"`
		Count   int     `json:"productCount"`
	} `json:"health"`
}

func (p *platformAnswer) health() string {
	if p.Health.Class != nil && p.Health.State != "OK" {
		return p.Health.State + ", " + *p.Health.Class
	}
	return p.Health.State
}

func simPlatform(e *env) *cobra.Command {
	c := &cobra.Command{Use: "platform", Short: "Accounts at connectivity platforms, inside the hub and remote", Aliases: []string{"platforms"}, RunE: group,
		Example: "  nave sim platform list\n  nave platform mock --output json > account.json &\n  nave sim platform add account.json\n  nave sim platform synchronise REMOTE_1"}
	c.AddCommand(platformList(e), platformShow(e), platformPut(e, true), platformPut(e, false), platformDelete(e), platformCheck(e), platformSync(e))
	return c
}

func platformList(e *env) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the accounts with their health", Args: cobra.NoArgs, Aliases: []string{"ls"}, Example: "  nave sim platform list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var found struct {
				Entities []platformAnswer `json:"entities"`
			}
			_, told, err := e.simCall(cmd.Context(), simRequest{method: http.MethodGet, path: "/platform", query: url.Values{"pageSize": {"1000"}}}, &found)
			if err != nil || told {
				return err
			}
			t := newTable("ACCOUNT", "PLATFORM", "ADAPTER", "ENABLED", "CHANGES", "SIMS", "HEALTH")
			for n := range found.Entities {
				p := &found.Entities[n]
				t.add(p.Account, p.Platform, p.Adapter, strconv.FormatBool(p.Enabled), p.Mode, strconv.Itoa(p.Health.Count), p.health())
			}
			return e.table(t)
		}}
}

func platformShow(e *env) *cobra.Command {
	return &cobra.Command{Use: "show ACCOUNT", Short: "Show an account", Args: cobra.ExactArgs(1), Example: "  nave sim platform show HUBSIM_1",
		RunE: func(cmd *cobra.Command, args []string) error {
			var p platformAnswer
			_, told, err := e.simCall(cmd.Context(), simRequest{method: http.MethodGet, path: "/platform/" + url.PathEscape(args[0])}, &p)
			if err != nil || told {
				return err
			}
			e.showPlatform(&p)
			return nil
		}}
}

func (e *env) showPlatform(p *platformAnswer) {
	e.facts("Account", p.Account, "Platform", p.Platform, "Adapter", p.Adapter, "Enabled", strconv.FormatBool(p.Enabled), "Changes", p.Mode,
		"Can be asked for", strings.Join(p.Settable, ", "), "Capabilities", strings.Join(p.Able, ", "), "SIMs", strconv.Itoa(p.Health.Count),
		"Health", p.health(), "Last success", when(p.Health.Success), "Last failure", when(p.Health.Failure))
}

// platformPut is add or replace.
func platformPut(e *env, add bool) *cobra.Command {
	verb, short := "replace", "Replace the configuration of an account; without clientSecret the old one stays"
	if add {
		verb, short = "add", "Add an account"
	}
	return &cobra.Command{Use: verb + " FILE", Short: short, Args: cobra.ExactArgs(1),
		Long: short + `.

FILE is JSON (- is standard input): the configuration of an account, or what
'nave platform mock --output json' prints.`,
		Example: "  nave sim platform " + verb + " account.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := e.copyIn(args[0])
			if err != nil {
				return trouble("Name a JSON file; - is standard input.", "the configuration can't be read: %w", err)
			}
			name, body, err := readAccount(text)
			if err != nil {
				return err
			}
			q := simRequest{method: http.MethodPost, path: "/platform", body: body}
			if !add {
				q.method, q.path = http.MethodPut, "/platform/"+url.PathEscape(name)
			}
			var p platformAnswer
			_, told, err := e.simCall(cmd.Context(), q, &p)
			if err == nil && !told {
				e.showPlatform(&p)
			}
			return err
		}}
}

// readAccount takes the configuration out of what the mock prints around it.
func readAccount(text []byte) (name string, body []byte, err error) {
	var around struct {
		Account json.RawMessage `json:"account"`
	}
	if err := json.Unmarshal(text, &around); err != nil {
		return "", nil, trouble("Write the configuration as one JSON object.", "the configuration is no JSON object: %w", err)
	}
	if len(around.Account) > 0 && around.Account[0] == '{' {
		text = bytes.Clone(around.Account) // Unmarshal writes over it
		if err := json.Unmarshal(text, &around); err != nil {
			return "", nil, trouble("Write the configuration as one JSON object.", "the configuration is no JSON object: %w", err)
		}
	}
	json.Unmarshal(around.Account, &name) // the API tells what is wrong with it
	return name, text, nil
}

func platformDelete(e *env) *cobra.Command {
	return &cobra.Command{Use: "delete ACCOUNT", Short: "Delete an account; the hub forgets its SIMs and their links", Args: cobra.ExactArgs(1), Aliases: []string{"rm"}, Example: "  nave sim platform delete REMOTE_1",
		RunE: func(cmd *cobra.Command, args []string) error {
			_, _, err := e.simCall(cmd.Context(), simRequest{method: http.MethodDelete, path: "/platform/" + url.PathEscape(args[0])}, nil)
			if err == nil {
				e.say("Deleted the account %s.", args[0])
			}
			return err
		}}
}

func platformCheck(e *env) *cobra.Command {
	return &cobra.Command{Use: "check ACCOUNT", Short: "Ask a platform whether address and credentials are good", Args: cobra.ExactArgs(1), Example: "  nave sim platform check REMOTE_1",
		RunE: func(cmd *cobra.Command, args []string) error {
			var found struct {
				Class string `json:"class"`
			}
			_, told, err := e.simCall(cmd.Context(), simRequest{method: http.MethodPost, path: "/platform/" + url.PathEscape(args[0]) + "/check"}, &found)
			if err != nil || told {
				return err
			}
			e.print("%s", found.Class)
			if found.Class != "ok" {
				return trouble("'nave sim platform show "+args[0]+"' shows since when.", "the platform of %s fails: %s", args[0], found.Class)
			}
			return nil
		}}
}

func platformSync(e *env) *cobra.Command {
	b := &simBulk{}
	c := &cobra.Command{Use: "synchronise ACCOUNT", Short: "Read all SIMs of a remote platform now", Args: cobra.ExactArgs(1), Aliases: []string{"sync"}, Example: "  nave sim platform synchronise REMOTE_1",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := e.sims(cmd.Context())
			if err != nil {
				return err
			}
			var m monitorAnswer
			if err := s.call(cmd.Context(), simRequest{method: http.MethodPost, path: "/platform/" + url.PathEscape(args[0]) + "/synchronise"}, &m); err != nil {
				return err
			}
			return s.follow(cmd.Context(), m.ID, b.wait)
		}}
	c.Flags().DurationVar(&b.wait, "wait", defaultWait, "how long to follow it")
	return c
}
