package main

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func simCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "sim", Short: "Manage SIMs: their status, usage, tariff and device", Aliases: []string{"sims"},
		Long: `sim manages the SIMs of the hub's connectivity API as its operator. A SIM is named by
its product id (HUBSIM-8900101000000000019) or by its ICCID.`,
		Example: `  nave sim import sims.csv
  nave sim list --status ACTIVE
  nave sim link 8900101000000000019 sensor1
  nave sim suspend 8900101000000000019
  nave sim usage 8900101000000000019`, RunE: group}
	c.AddCommand(simImport(e), simListing(e), simShow(e))
	for n := range simVerbs {
		c.AddCommand(simChange(e, &simVerbs[n]))
	}
	c.AddCommand(simTrack(e), simTask(e), simUsage(e), simSessions(e), simHistory(e), simLink(e), simUnlink(e), simReset(e), simSMS(e), simOffering(e), simPlatform(e))
	return c
}

// simAnswer is a product, in lists without its parts.
type simAnswer struct {
	ID       string        `json:"id"`
	Status   string        `json:"status"`
	Kind     string        `json:"connectivityType"`
	Since    string        `json:"startDate"`
	Party    []namedAnswer `json:"relatedParty"`
	Offering struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"productOffering"`
	Facts  []valueAnswer `json:"productCharacteristic"`
	Device *struct {
		ID     string `json:"id"`
		Linked string `json:"linkedAt"`
	} `json:"device"`
	Parts []struct {
		Product partAnswer `json:"product"`
	} `json:"productRelationship"`
}

type namedAnswer struct {
	Name string `json:"name"`
}

// valueAnswer is a characteristic or a custom property.
type valueAnswer struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// partAnswer is a sub-product.
type partAnswer struct {
	ID       string        `json:"id"`
	Status   string        `json:"status"`
	Type     string        `json:"@type"`
	Usage    string        `json:"usageType"`
	Facts    []valueAnswer `json:"productCharacteristic"`
	Custom   []valueAnswer `json:"customProperty"`
	Counters []struct {
		Name   string `json:"valueName"`
		Type   string `json:"counterType"`
		Period struct {
			Start string `json:"startDateTime"`
			End   string `json:"endDateTime"`
		} `json:"consumptionPeriod"`
	} `json:"bucketCounter"`
}

type simList struct {
	envelopeAnswer
	Entities []simAnswer `json:"entities"`
}

// fact returns the value of a characteristic, in any letter case.
func (a *simAnswer) fact(name string) string {
	for _, f := range a.Facts {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	for n := range a.Parts {
		for _, f := range a.Parts[n].Product.Facts {
			if strings.EqualFold(f.Name, name) {
				return f.Value
			}
		}
	}
	return ""
}

func (a *simAnswer) device() string {
	if a.Device == nil {
		return ""
	}
	return a.Device.ID
}

// simFilters are the flags that choose SIMs.
type simFilters struct {
	values   map[string]*string // by the API's name
	linked   bool
	property []string
}

// simFilterFlags are flag, name in the API, and help.
var simFilterFlags = [][3]string{
	{"status", "status", "status, several joined by commas"},
	{"platform", "platform", "platform reference, such as HUBSIM"},
	{"account", "relatedParty.name", "platform account"},
	{"offering", "productOffering.name", "name of the offering"},
	{"iccid", "iccid", "ICCID, several joined by commas"},
	{"iccid-from", "iccid.gte", "first ICCID of a range"},
	{"iccid-to", "iccid.lte", "last ICCID of a range"},
	{"imsi", "imsi", "IMSI"}, {"msisdn", "msisdn", "MSISDN, without a plus sign"}, {"imei", "imei", "IMEI"}, {"eid", "eid", "EID"},
	{"device", "deviceId", "linked device"},
}

func (f *simFilters) flags(cmd *cobra.Command) {
	f.values = map[string]*string{}
	for _, row := range simFilterFlags {
		f.values[row[1]] = cmd.Flags().String(row[0], "", "only SIMs with this "+row[2])
	}
	cmd.Flags().BoolVar(&f.linked, "linked", false, "only SIMs with a device, or with --linked=false without one")
	cmd.Flags().StringArrayVar(&f.property, "property", nil, "only SIMs with this custom property, NAME=VALUE; may be repeated")
}

// query returns the filters that are set; empty says that none is.
func (f *simFilters) query(cmd *cobra.Command) (q url.Values, err error) {
	q = url.Values{}
	for _, row := range simFilterFlags {
		if cmd.Flags().Changed(row[0]) {
			q.Set(row[1], *f.values[row[1]])
		}
	}
	if cmd.Flags().Changed("linked") {
		q.Set("linked", strconv.FormatBool(f.linked))
	}
	for _, text := range f.property {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, misuse("Write --property NAME=VALUE.", "the custom property %q has no value", text)
		}
		q.Set("customProperty."+name, value)
	}
	return q, nil
}

// strictly has the API refuse filters that can match nothing.
const strictly = "handling=strict"

func simListing(e *env) *cobra.Command {
	var f simFilters
	top, page, sort := 20, 1, ""
	c := &cobra.Command{Use: "list", Short: "List SIMs", Args: cobra.NoArgs, Aliases: []string{"ls"},
		Example: "  nave sim list\n  nave sim list --status ACTIVE,SUSPENDED --linked=false --top 100\n  nave sim list --property site=north --sort -startDate -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := f.query(cmd)
			if err != nil {
				return err
			}
			q.Set("pageSize", strconv.Itoa(top))
			q.Set("pageNumber", strconv.Itoa(page))
			if sort != "" {
				q.Set("sort", sort)
			}
			var found simList
			_, told, err := e.simCall(cmd.Context(), simRequest{method: http.MethodGet, path: "/product", query: q, prefer: strictly}, &found)
			if err != nil || told {
				return err
			}
			return e.showSIMs(&found, page, top)
		}}
	f.flags(c)
	l := c.Flags()
	l.IntVar(&top, "top", top, "how many on a page, 1 to 1000")
	l.IntVar(&page, "page", page, "which page")
	l.StringVar(&sort, "sort", "", "id, status, iccid or startDate, several joined by commas, - before one for descending (id)")
	return c
}

func (e *env) showSIMs(found *simList, page, top int) error {
	for n := range found.Errors {
		e.say("%s %s", paint(e.colorErr, yellow, "note:"), oneLine(found.Errors[n].text()))
	}
	if len(found.Entities) == 0 {
		if found.Statistics.Total == 0 {
			e.say("No SIM is there, or none fits. 'nave sim import' adds some.")
		} else {
			e.say("There are %d SIMs, and none on page %d.", found.Statistics.Total, page)
		}
		return nil
	}
	t := newTable("SIM", "STATUS", "OFFERING", "IMSI", "MSISDN", "DEVICE")
	for n := range found.Entities {
		a := &found.Entities[n]
		t.add(a.ID, a.Status, a.Offering.Name, a.fact("IMSI"), a.fact("MSISDN"), a.device())
	}
	if err := e.table(t); err != nil {
		return err
	}
	if all := found.Statistics.Total; all > len(found.Entities) {
		e.say("%d of %d. '--page %d' shows what follows.", len(found.Entities), all, page+1)
	}
	return nil
}

func simShow(e *env) *cobra.Command {
	return &cobra.Command{Use: "show SIM", Short: "Show a SIM with its usage and its device", Args: cobra.ExactArgs(1),
		Example: "  nave sim show HUBSIM-8900101000000000019\n  nave sim show 8900101000000000019 --output json",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := e.sims(cmd.Context())
			if err != nil {
				return err
			}
			id, err := s.product(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var a simAnswer
			told, err := s.show(cmd.Context(), simRequest{method: http.MethodGet, path: simPath(id)}, &a)
			if err != nil || told {
				return err
			}
			e.showSIM(&a)
			return nil
		}}
}

func (e *env) showSIM(a *simAnswer) {
	account, device := "", ""
	if len(a.Party) > 0 {
		account = a.Party[0].Name
	}
	if a.Device != nil {
		device = a.Device.ID + ", since " + when(a.Device.Linked)
	}
	facts := []string{"SIM", a.ID, "Status", a.Status, "Account", account, "Offering", a.Offering.Name, "Since", when(a.Since)}
	for _, name := range [][2]string{{"ICCID", "ICCID"}, {"IMSI", "IMSI"}, {"MSISDN", "MSISDN"}, {"IMEI", "imei"}, {"EID", "euiccid"}, {"Serial number", "serialNumber"}} {
		facts = append(facts, name[0], a.fact(name[1]))
	}
	facts = append(facts, "Device", device)
	for n := range a.Parts {
		p := &a.Parts[n].Product
		for _, c := range p.Custom {
			facts = append(facts, "Property "+c.Name, c.Value)
		}
		for _, b := range p.Counters {
			name := map[string]string{"USED": "Used", "LIMIT": "Limit"}[b.Type]
			facts = append(facts, strings.TrimSpace(name+" "+strings.ToLower(p.Usage)), b.Name+", period since "+when(b.Period.Start))
		}
	}
	e.facts(facts...)
}
