package main

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// simOne is a command about one SIM: it finds the SIM and calls path below it.
func (e *env) simOne(cmd *cobra.Command, name string, q simRequest, below []string, out any) (id string, told bool, err error) {
	s, err := e.sims(cmd.Context())
	if err != nil {
		return "", false, err
	}
	if id, err = s.product(cmd.Context(), name); err != nil {
		return "", false, err
	}
	q.path = simPath(id, below...)
	told, err = s.show(cmd.Context(), q, out)
	return id, told, err
}

// volumeAnswer is the usage of a span.
type volumeAnswer struct {
	Period struct {
		Start string `json:"startDateTime"`
	} `json:"period"`
	Data struct {
		Up    int64 `json:"uplinkBytes"`
		Down  int64 `json:"downlinkBytes"`
		Total int64 `json:"totalBytes"`
	} `json:"data"`
	SMS struct {
		MO int `json:"mo"`
		MT int `json:"mt"`
	} `json:"sms"`
}

func simUsage(e *env) *cobra.Command {
	by, from, to, all := "day", "", "", false
	c := &cobra.Command{Use: "usage SIM", Short: "Show the data that a SIM has used", Args: cobra.ExactArgs(1),
		Long: `Usage shows bytes by hour, day or month in UTC, of this billing period unless --from
says otherwise. Uplink is from the device. Usage is booked every 10 s and when a
connection ends.`,
		Example: "  nave sim usage 8900101000000000019\n  nave sim usage 8900101000000000019 --by hour --from 2026-03-01T00:00:00Z",
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{"granularity": {strings.ToUpper(by)}}
			for name, text := range map[string]string{"from": from, "to": to} {
				if text != "" {
					q.Set(name, text)
				}
			}
			var found struct {
				Entities []volumeAnswer `json:"entities"`
			}
			_, told, err := e.simOne(cmd, args[0], simRequest{method: http.MethodGet, query: q}, []string{"usage"}, &found)
			if err != nil || told {
				return err
			}
			return e.showUsageOf(found.Entities, all)
		}}
	f := c.Flags()
	f.StringVar(&by, "by", by, "hour, day or month")
	f.StringVar(&from, "from", "", "begin, RFC 3339 (the billing period)")
	f.StringVar(&to, "to", "", "end, RFC 3339 (now)")
	f.BoolVar(&all, "all", false, "also spans without usage")
	c.RegisterFlagCompletionFunc("by", cobra.FixedCompletions([]string{"hour", "day", "month"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (e *env) showUsageOf(all []volumeAnswer, empty bool) error {
	t := newTable("FROM", "UPLINK", "DOWNLINK", "TOTAL", "SMS OUT", "SMS IN")
	row := func(name string, u *volumeAnswer) {
		t.add(name, strconv.FormatInt(u.Data.Up, 10), strconv.FormatInt(u.Data.Down, 10), strconv.FormatInt(u.Data.Total, 10), strconv.Itoa(u.SMS.MO), strconv.Itoa(u.SMS.MT))
	}
	var sum volumeAnswer
	for n := range all {
		u := &all[n]
		sum.Data.Up, sum.Data.Down, sum.Data.Total = sum.Data.Up+u.Data.Up, sum.Data.Down+u.Data.Down, sum.Data.Total+u.Data.Total
		sum.SMS.MO, sum.SMS.MT = sum.SMS.MO+u.SMS.MO, sum.SMS.MT+u.SMS.MT
		if empty || u.Data.Total > 0 || u.SMS.MO+u.SMS.MT > 0 {
			row(when(u.Period.Start), u)
		}
	}
	row("all", &sum)
	return e.table(t)
}

// sessionAnswer is a data session.
type sessionAnswer struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Start    string `json:"startDateTime"`
	End      string `json:"endDateTime"`
	Protocol string `json:"protocol"`
	IP       string `json:"ipAddress"`
	Up       int64  `json:"uplinkBytes"`
	Down     int64  `json:"downlinkBytes"`
	Cause    string `json:"terminateCause"`
}

func simSessions(e *env) *cobra.Command {
	state, top := "all", 20
	c := &cobra.Command{Use: "sessions SIM", Short: "Show the data sessions of a SIM, the newest first", Args: cobra.ExactArgs(1),
		Example: "  nave sim sessions 8900101000000000019 --state open",
		RunE: func(cmd *cobra.Command, args []string) error {
			var found struct {
				Entities []sessionAnswer `json:"entities"`
			}
			q := url.Values{"state": {strings.ToUpper(state)}, "pageSize": {strconv.Itoa(top)}}
			_, told, err := e.simOne(cmd, args[0], simRequest{method: http.MethodGet, query: q}, []string{"dataSession"}, &found)
			if err != nil || told {
				return err
			}
			if len(found.Entities) == 0 {
				e.say("The SIM has no data sessions.")
				return nil
			}
			t := newTable("START", "END", "BY", "FROM", "UPLINK", "DOWNLINK", "ENDED BY")
			for _, s := range found.Entities {
				end := "open"
				if s.End != "" {
					end = when(s.End)
				}
				t.add(when(s.Start), end, s.Protocol, s.IP, strconv.FormatInt(s.Up, 10), strconv.FormatInt(s.Down, 10), s.Cause)
			}
			return e.table(t)
		}}
	c.Flags().StringVar(&state, "state", state, "open, closed or all")
	c.Flags().IntVar(&top, "top", top, "how many")
	return c
}

// historyAnswer is a change of a SIM.
type historyAnswer struct {
	At    string  `json:"timestamp"`
	Kind  string  `json:"kind"`
	From  *string `json:"from"`
	To    *string `json:"to"`
	Actor struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	} `json:"actor"`
	Reason string `json:"reason"`
}

func simHistory(e *env) *cobra.Command {
	top := 20
	c := &cobra.Command{Use: "history SIM", Short: "Show every change of a SIM, the newest first", Args: cobra.ExactArgs(1),
		Example: "  nave sim history 8900101000000000019",
		RunE: func(cmd *cobra.Command, args []string) error {
			var found struct {
				Entities []historyAnswer `json:"entities"`
			}
			_, told, err := e.simOne(cmd, args[0], simRequest{method: http.MethodGet, query: url.Values{"pageSize": {strconv.Itoa(top)}}}, []string{"history"}, &found)
			if err != nil || told {
				return err
			}
			t := newTable("AT", "WHAT", "FROM", "TO", "BY", "WHY")
			for _, h := range found.Entities {
				t.add(when(h.At), h.Kind, deref(h.From), deref(h.To), strings.ToLower(h.Actor.Type)+" "+h.Actor.ID, h.Reason)
			}
			return e.table(t)
		}}
	c.Flags().IntVar(&top, "top", top, "how many")
	return c
}

func simLink(e *env) *cobra.Command {
	replace := false
	c := &cobra.Command{Use: "link SIM DEVICE", Short: "Tie a SIM to a device", Args: cobra.ExactArgs(2),
		Long: `Link ties a SIM to a device, one to one. From then on the device is let in only while
the SIM carries traffic, and what it sends and gets counts as the SIM's usage.`,
		Example: "  nave sim link 8900101000000000019 sensor1\n  nave sim link 8900101000000000019 sensor2 --replace",
		RunE: func(cmd *cobra.Command, args []string) error {
			var l struct {
				Warnings []struct {
					Code   string `json:"code"`
					Detail string `json:"detail"`
				} `json:"warnings"`
			}
			id, told, err := e.simOne(cmd, args[0], simRequest{method: http.MethodPut, body: map[string]any{"deviceId": args[1], "replace": replace}}, []string{"device"}, &l)
			if err != nil {
				return err
			}
			for _, w := range l.Warnings {
				e.say("%s %s", paint(e.colorErr, yellow, "note:"), oneLine(w.Detail))
			}
			if !told {
				e.say("%s is the SIM of %s.", id, args[1])
			}
			return nil
		}}
	c.Flags().BoolVar(&replace, "replace", false, "dissolve other links of the SIM and of the device first")
	return c
}

func simUnlink(e *env) *cobra.Command {
	return &cobra.Command{Use: "unlink SIM", Short: "Part a SIM from its device", Args: cobra.ExactArgs(1), Example: "  nave sim unlink 8900101000000000019",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, _, err := e.simOne(cmd, args[0], simRequest{method: http.MethodDelete}, []string{"device"}, nil)
			if err == nil {
				e.say("%s has no device any more.", id)
			}
			return err
		}}
}

func simReset(e *env) *cobra.Command {
	return &cobra.Command{Use: "reset SIM", Short: "End the connections of a SIM's device, so that it attaches again", Args: cobra.ExactArgs(1), Example: "  nave sim reset 8900101000000000019",
		RunE: func(cmd *cobra.Command, args []string) error {
			var m monitorAnswer
			id, told, err := e.simOne(cmd, args[0], simRequest{method: http.MethodPost}, []string{"reset"}, &m)
			if err != nil || told {
				return err
			}
			if m.State != "" {
				e.say("The platform works on it: 'nave sim track %s' follows it.", m.ID)
				return nil
			}
			e.say("Reset %s.", id)
			return nil
		}}
}

func simSMS(e *env) *cobra.Command {
	body := map[string]any{}
	hex, validity := false, 0
	c := &cobra.Command{Use: "sms SIM TEXT", Short: "Send a short message to a SIM's device", Args: cobra.ExactArgs(2),
		Long: `Sms sends a short message. On the platform inside the hub it reaches the device as a
cloud-to-device message with the property connectivity-sms.`,
		Example: "  nave sim sms 8900101000000000019 'wake up'\n  nave sim sms 8900101000000000019 0A1B --hex --validity 3600",
		RunE: func(cmd *cobra.Command, args []string) error {
			if body["payload"] = args[1]; hex {
				body["encoding"] = "HEX"
			}
			if validity != 0 {
				body["validitySeconds"] = validity
			}
			var m struct {
				ID     string `json:"id"`
				Status string `json:"status"`
				Until  string `json:"expiresAt"`
			}
			_, told, err := e.simOne(cmd, args[0], simRequest{method: http.MethodPost, body: body}, []string{"sms"}, &m)
			if err != nil || told {
				return err
			}
			e.facts("Message", m.ID, "Status", m.Status, "Good until", when(m.Until))
			return nil
		}}
	c.Flags().BoolVar(&hex, "hex", false, "TEXT is hexadecimal digits")
	c.Flags().IntVar(&validity, "validity", 0, "seconds, 60 to 604800 (one day)")
	return c
}
