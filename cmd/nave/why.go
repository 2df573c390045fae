package main

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// occurrence is a failure as the console shows it.
type occurrence struct {
	Time     time.Time `json:"time"`
	Hub      string    `json:"hub"`
	Op       string    `json:"op"`
	Device   string    `json:"deviceId,omitempty"`
	Module   string    `json:"moduleId,omitempty"`
	Code     int       `json:"code"`
	Name     string    `json:"name"`
	Family   string    `json:"family"`
	Text     string    `json:"text"`
	Why      string    `json:"why"`
	Fix      string    `json:"fix"`
	Retry    string    `json:"retry"`
	Tracking string    `json:"trackingId"`
}

func whyCommand(e *env) *cobra.Command {
	code, top := "", 0
	c := &cobra.Command{Use: "why [DEVICE[/MODULE]]", Short: "Explain the recent failures of a device, or of all", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: e.completeDevice,
		Long:              "Why shows the last failures and disconnects since the node started, the newest first,\nand what to do about each.",
		Example:           "  nave why sensor1\n  nave why --code 401003 --top 1",
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{"top": {strconv.Itoa(top)}}
			if cmd.Flags().Changed("code") {
				if _, err := codeNamed(code); err != nil {
					return err
				}
				q.Set("code", code)
			}
			if len(args) > 0 {
				id, err := anyID(args[0])
				if err != nil {
					return err
				}
				q.Set("device", id.Device)
				if id.IsModule() {
					q.Set("module", id.Module)
				}
			}
			return e.why(cmd, q)
		}}
	c.Flags().StringVar(&code, "code", "", "only this code, number or name")
	c.Flags().IntVar(&top, "top", 10, "greatest number of failures")
	return c
}

func (e *env) why(cmd *cobra.Command, q url.Values) error {
	c, err := e.operator(cmd.Context())
	if err != nil {
		return err
	}
	q.Set("hub", c.host)
	var all []occurrence
	if err := c.ask(cmd.Context(), http.MethodGet, "/api/recent?"+q.Encode(), nil, &all); err != nil {
		return err
	}
	switch {
	case e.json():
		return e.printJSON(all)
	case len(all) == 0:
		e.say("No failures since the node started.")
		return nil
	}
	for n, o := range all {
		if n > 0 {
			e.print("")
		}
		e.showOccurrence(&o)
	}
	return nil
}

func (e *env) showOccurrence(o *occurrence) {
	who := o.Device
	if o.Module != "" {
		who += "/" + o.Module
	}
	e.print("%s  %s  %s  %s", o.Time.Local().Format("2006-01-02 15:04:05"), paint(e.colorOut, bold, strconv.Itoa(o.Code)+" "+o.Name), o.Op, oneLine(who))
	e.paragraph("What happened", o.Text)
	e.paragraph("Why", o.Why)
	e.paragraph("What to do", o.Fix)
	e.paragraph("Tracking id", o.Tracking)
}
