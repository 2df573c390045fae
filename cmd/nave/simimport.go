package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// importFlags are the flags of sim import.
type importFlags struct {
	account, offering string
	partial, dry      bool
}

// importResult is what sim import prints for machines.
type importResult struct {
	Imported int         `json:"imported"`
	Wrong    []lineError `json:"wrong"`
	Seconds  float64     `json:"seconds"`
}

func simImport(e *env) *cobra.Command {
	var f importFlags
	c := &cobra.Command{Use: "import FILE.csv", Short: "Add SIMs from a CSV file", Args: cobra.ExactArgs(1),
		Long: `Import adds the SIMs of a CSV file to the platform inside the hub. The first line names
the columns: iccid, imsi, msisdn, imei, eid and offering, in any order; only those that
the file has. They are separated by commas, semicolons or tabs. Without iccid or imsi
the hub allots numbers of a test network.

The whole file is checked first, against itself and against the hub. When a line is
wrong nothing is imported, and every wrong line is told; with --partial the wrong lines
are left out. Then SIMs go to the hub by thousands, each thousand as a whole. They begin
in status INVENTORY; 'nave sim activate' puts them into service.`,
		Example: "  nave sim import sims.csv\n  nave sim import sims.csv --offering off-default --dry-run\n  nave sim import - --partial < sims.csv",
		RunE:    func(cmd *cobra.Command, args []string) error { return e.importSIMs(cmd.Context(), &f, args[0]) }}
	l := c.Flags()
	l.StringVar(&f.account, "account", "", "platform account of the hub (the only one)")
	l.StringVar(&f.offering, "offering", "", "offering of the lines that have none")
	l.BoolVar(&f.partial, "partial", false, "leave wrong lines out and import the others")
	l.BoolVar(&f.dry, "dry-run", false, "check the file and import nothing")
	return c
}

func (e *env) importSIMs(ctx context.Context, f *importFlags, file string) error {
	text, err := e.copyIn(file)
	if err != nil {
		return trouble("Name a CSV file; - is standard input.", "the SIMs can't be read: %w", err)
	}
	rows, wrong, err := parseSIMs(bytes.NewReader(text))
	if err != nil {
		return trouble("'nave help sim import' shows what the file holds.", "%s is no CSV file with SIMs: %w", file, err)
	}
	s, err := e.sims(ctx)
	if err != nil {
		return err
	}
	if err := s.completeImport(ctx, f, rows); err != nil {
		return err
	}
	rows, more, err := s.checkRows(ctx, rows, f.account)
	if err != nil {
		return err
	}
	wrong = append(wrong, more...)
	slices.SortStableFunc(wrong, func(a, b lineError) int { return cmp.Compare(a.Line, b.Line) })
	e.tellWrong(wrong)
	r := importResult{Wrong: wrong}
	if r.Wrong == nil {
		r.Wrong = []lineError{}
	}
	stop := len(wrong) > 0 && !f.partial
	if !stop && !f.dry && len(rows) > 0 {
		begun := time.Now()
		if r.Imported, err = s.importRows(ctx, rows, f.account); err != nil {
			e.say("%d SIMs were imported before that.", r.Imported)
			return err
		}
		r.Seconds = time.Since(begun).Seconds()
	}
	if e.json() {
		if err := e.printJSON(r); err != nil {
			return err
		}
	}
	switch {
	case stop:
		return trouble("Correct these lines, or leave them out with --partial.", "%s in %d lines, nothing was imported", count(len(wrong), "mistake"), lineCount(wrong))
	case f.dry:
		e.say("%s can be imported into %s.", count(len(rows), "SIM"), f.account)
	default:
		e.say("Imported %s into %s in %.1f s.", count(r.Imported, "SIM"), f.account, r.Seconds)
	}
	return nil
}

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func lineCount(wrong []lineError) int {
	lines := map[int]bool{}
	for _, w := range wrong {
		lines[w.Line] = true
	}
	return len(lines)
}

// shownLines is how many wrong lines are told of.
const shownLines = 20

func (e *env) tellWrong(wrong []lineError) {
	for n, w := range wrong {
		if n == shownLines {
			e.say("… and %d more; --output json has all.", len(wrong)-n)
			return
		}
		e.say("%s %s", paint(e.colorErr, yellow, fmt.Sprintf("line %d:", w.Line)), oneLine(w.Text))
	}
}

// completeImport finds the account, and gives lines their offering.
func (s *simClient) completeImport(ctx context.Context, f *importFlags, rows []simRow) error {
	if f.account == "" {
		var found struct {
			Entities []platformAnswer `json:"entities"`
		}
		if err := s.call(ctx, simRequest{method: http.MethodGet, path: "/platform", query: url.Values{"pageSize": {"1000"}}}, &found); err != nil {
			return err
		}
		var own []string
		for _, p := range found.Entities {
			if p.Adapter == "embedded" && p.Enabled {
				own = append(own, p.Account)
			}
		}
		if len(own) != 1 {
			return misuse("Say which with --account.", "the hub has %s of its own: %s", count(len(own), "platform account"), strings.Join(own, ", "))
		}
		f.account = own[0]
	}
	for n := range rows {
		rows[n].Offering = cmp.Or(rows[n].Offering, f.offering)
	}
	return nil
}

// importBatch is how many SIMs go to the hub at once.
const importBatch = 1000

// checkRows holds lines against the hub: offerings must be there, and ICCID and
// IMSI must not.
func (s *simClient) checkRows(ctx context.Context, rows []simRow, account string) (good []simRow, wrong []lineError, err error) {
	var found struct {
		Entities []offeringAnswer `json:"entities"`
	}
	if err := s.call(ctx, simRequest{method: http.MethodGet, path: "/productOffering", query: url.Values{"pageSize": {"1000"}}}, &found); err != nil {
		return nil, nil, err
	}
	offered := map[string]bool{"": true}
	for _, o := range found.Entities {
		offered[o.ID] = o.Account == account
	}
	p := s.e.progress("Checking")
	defer p.end()
	for at := 0; at < len(rows); at += importBatch / 2 {
		some := rows[at:min(len(rows), at+importBatch/2)]
		have, err := s.existing(ctx, some)
		if err != nil {
			return nil, nil, err
		}
		for _, r := range some {
			switch {
			case !offered[r.Offering]:
				wrong = append(wrong, lineError{r.line, fmt.Sprintf("the account %s has no offering %q", account, r.Offering)})
			case r.ICCID != "" && have["ICCID "+r.ICCID] != "":
				wrong = append(wrong, lineError{r.line, "iccid " + r.ICCID + " exists already, as " + have["ICCID "+r.ICCID]})
			case r.IMSI != "" && have["IMSI "+r.IMSI] != "":
				wrong = append(wrong, lineError{r.line, "imsi " + r.IMSI + " exists already, at " + have["IMSI "+r.IMSI]})
			default:
				good = append(good, r)
			}
		}
		p.step(at+len(some), len(rows))
	}
	return good, wrong, nil
}

// existing returns the products that have an ICCID or IMSI of these lines.
func (s *simClient) existing(ctx context.Context, rows []simRow) (map[string]string, error) {
	body := map[string][]string{}
	for _, r := range rows {
		if r.ICCID != "" {
			body["iccidList"] = append(body["iccidList"], r.ICCID)
		}
		if r.IMSI != "" {
			body["imsiList"] = append(body["imsiList"], r.IMSI)
		}
	}
	if len(body) == 0 {
		return nil, nil
	}
	var found simList
	if err := s.call(ctx, simRequest{method: http.MethodPost, path: "/product/find", body: body}, &found); err != nil {
		return nil, err
	}
	have := map[string]string{}
	for n := range found.Entities {
		a := &found.Entities[n]
		have["ICCID "+a.fact("ICCID")], have["IMSI "+a.fact("IMSI")] = a.ID, a.ID
	}
	return have, nil
}

// importRows adds SIMs and returns how many are in.
func (s *simClient) importRows(ctx context.Context, rows []simRow, account string) (done int, err error) {
	p := s.e.progress("Importing")
	defer p.end()
	for done < len(rows) {
		some := rows[done:min(len(rows), done+importBatch)]
		body := map[string]any{"account": account, "sim": some}
		if err := s.call(ctx, simRequest{method: http.MethodPost, path: "/product", body: body}, nil); err != nil {
			return done, err
		}
		done += len(some)
		p.step(done, len(rows))
	}
	return done, nil
}
