package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/fault"
)

// codeAnswer is a code as JSON.
type codeAnswer struct {
	Code   int          `json:"code"`
	Name   string       `json:"name"`
	Family fault.Family `json:"family"`
	HTTP   int          `json:"httpStatus"`
	AMQP   string       `json:"amqpCondition"`
	MQTT   string       `json:"mqtt"`
	Retry  string       `json:"retry"`
	Raised bool         `json:"raisedHere"`
	Why    string       `json:"why"`
	Fix    string       `json:"fix"`
}

func answerCode(c *fault.Code) codeAnswer {
	return codeAnswer{c.ID, c.Name, c.Family, c.HTTP, c.Condition(), c.MQTT.String(), c.Retry.String(), c.Raised, c.Why, c.Fix}
}

func explainCommand(e *env) *cobra.Command {
	family := ""
	c := &cobra.Command{
		Use: "explain [CODE | NAME | PHRASE]...", Short: "Say what an error means and what to do",
		Long: `Explain says what an error code means, when this hub raises it, whether to retry
and how, and what to do. It needs no hub and no network.

It understands a number, a name, an HTTP status, an AMQP condition, a pasted
error message and free text. Without an argument it lists every code.`,
		Example: `  nave explain 404103
  nave explain DeviceNotOnline
  nave explain "lock lost"
  nave explain --family dps
  nave explain --output json > codes.json`,
		RunE: func(_ *cobra.Command, args []string) error {
			return e.explain(strings.Join(args, " "), family)
		},
		ValidArgsFunction: func(_ *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
			return codeNames(start), cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.Flags().StringVar(&family, "family", "", "only codes of hub, dps, iot/v1 or connectivity")
	c.RegisterFlagCompletionFunc("family", cobra.FixedCompletions(families(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func families() []string {
	return []string{string(fault.Hub), string(fault.DPS), string(fault.Control), string(fault.SIM)}
}

func codeNames(start string) (names []string) {
	for c := range fault.All() {
		if strings.HasPrefix(strings.ToLower(c.Name), strings.ToLower(start)) && !slices.Contains(names, c.Name) {
			names = append(names, c.Name)
		}
	}
	return names
}

func (e *env) explain(text, family string) error {
	if family != "" && !slices.Contains(families(), family) {
		return misuse("", "--family is %q, allowed are %s", family, strings.Join(families(), ", "))
	}
	found := slices.Collect(fault.All())
	if strings.TrimSpace(text) != "" {
		found = fault.Find(text)
	}
	if family != "" {
		found = slices.DeleteFunc(slices.Clone(found), func(c *fault.Code) bool { return string(c.Family) != family })
	}
	switch {
	case len(found) == 0:
		return trouble("'nave explain' without an argument lists every code.", "no code fits %q", text)
	case strings.TrimSpace(text) != "" && !meant(found[0], text):
		return trouble("Run 'nave explain' with one of these.", "there is no code %q; close are %s", text, brief(found))
	case e.json():
		return e.printJSON(answers(found))
	case strings.TrimSpace(text) == "":
		return e.listCodes(found)
	}
	return e.describe(found, text)
}

func answers(codes []*fault.Code) []codeAnswer {
	all := []codeAnswer{}
	for _, c := range codes {
		all = append(all, answerCode(c))
	}
	return all
}

// maxClose is how many near misses and further codes are named.
const maxClose = 5

func brief(codes []*fault.Code) string {
	var names []string
	for _, c := range codes[:min(maxClose, len(codes))] {
		names = append(names, strconv.Itoa(c.ID)+" "+c.Name)
	}
	return strings.Join(names, ", ")
}

// meant says whether a code is what the text asks for, not just close to it.
func meant(c *fault.Code, text string) bool {
	if exact(c, text) {
		return true
	}
	if _, err := strconv.Atoi(strings.TrimSpace(text)); err == nil {
		return false
	}
	about := strings.ToLower(c.Name + " " + c.Why + " " + c.Fix + " " + c.Condition())
	for word := range strings.FieldsSeq(strings.ToLower(text)) {
		if len(word) > 2 && strings.Contains(about, strings.Trim(word, ".,:;!?\"'")) {
			return true
		}
	}
	return false
}

// exact says whether the text holds the number or the name of a code, or its
// HTTP status or AMQP condition alone.
func exact(c *fault.Code, text string) bool {
	text = strings.TrimSpace(text)
	if n, err := strconv.Atoi(text); err == nil {
		return n == c.ID || n == c.HTTP
	}
	return strings.Contains(strings.ToLower(text), strings.ToLower(c.Name)) || strings.Contains(text, strconv.Itoa(c.ID)) ||
		strings.EqualFold(text, c.Condition()) || fault.ByName(text) == c
}

// describe shows in full the best code and those that share its number or
// name, and names the others.
func (e *env) describe(found []*fault.Code, text string) error {
	var rest []*fault.Code
	for i, c := range found {
		if i > 0 && (c.ID != found[0].ID && !strings.EqualFold(c.Name, found[0].Name) || !exact(c, text)) {
			rest = append(rest, c)
			continue
		}
		if i > 0 {
			e.print("")
		}
		e.describeCode(c)
	}
	if len(rest) > 0 {
		e.print("")
		e.print("See also: %s", brief(rest))
	}
	return nil
}

func (e *env) describeCode(c *fault.Code) {
	e.print("%s (%s)", paint(e.colorOut, bold, strconv.Itoa(c.ID)+" "+c.Name), c.Family)
	e.paragraph("What it means", c.Why)
	e.paragraph("What to do", c.Fix)
	e.paragraph("Retry", retryAdvice(c.Retry))
	e.paragraph("On the wire", "HTTP "+strconv.Itoa(c.HTTP)+", AMQP "+c.Condition()+", MQTT "+c.MQTT.String())
	e.paragraph("In this hub", raisedAdvice(c))
}

func retryAdvice(r fault.Retry) string {
	switch r {
	case fault.Never:
		return "never: the same request fails again"
	case fault.Later:
		return "later: the same request succeeds once something else has changed"
	case fault.Refresh:
		return "refresh: read the state again, or get a new token, then ask anew"
	}
	return "backoff: repeat with growing, random pauses"
}

func raisedAdvice(c *fault.Code) string {
	if c.Raised {
		return "raised for the cause above"
	}
	return "never raised by itself today; 'nave inject add --code " + explainArgument(c) + "' produces it for tests"
}

// paragraph writes a heading and a text that is wrapped to the terminal.
func (e *env) paragraph(head, text string) {
	const indent = 16
	width := e.width
	if width == 0 {
		width = 100
	}
	line := head + strings.Repeat(" ", max(1, indent-len(head)-2))
	line = "  " + line
	used := 0
	for _, word := range strings.Fields(oneLine(text)) {
		if used > 0 && len(line)+1+len(word) > width {
			e.print("%s", line)
			line, used = strings.Repeat(" ", indent), 0
		}
		if used > 0 {
			line += " "
		}
		line += word
		used++
	}
	e.print("%s", line)
}

func (e *env) listCodes(codes []*fault.Code) error {
	t := newTable("CODE", "NAME", "FAMILY", "HTTP", "RETRY", "WHAT IT MEANS")
	for _, c := range codes {
		t.add(strconv.Itoa(c.ID), c.Name, string(c.Family), strconv.Itoa(c.HTTP), c.Retry.String(), c.Why)
	}
	return e.table(t)
}
