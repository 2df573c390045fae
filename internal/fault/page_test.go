package fault_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nave-hub/nave/internal/fault"
)

// TestPage compares docs/errors.md with the catalogue; -update rewrites it (after raised.go, in a run of its own).
func TestPage(t *testing.T) {
	path := filepath.Join(root, "docs", "errors.md")
	want := page()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/errors.md is stale; run go test ./internal/fault -run TestPage -update")
	}
}

const legend = `# Every error and what to do about it

Generated from the catalogue in ` + "`internal/fault`" + ` by its test; do not edit. ` + "`nave explain`" + ` prints the same entries:
give it a number, a name or a few words.

- **HTTP**: the status. A star marks a code that is no HTTP answer by itself; an injected one uses this status.
- **AMQP**: the error condition on a link, a rejected message or a closed connection.
- **MQTT**: what a 3.1.1 client sees where the code mostly arises: a closed socket, a CONNACK code, or a status in a response topic.
- **Retry**: *never* – the same request fails again; *later* – it can succeed once something else has changed; *refresh* – read the
  state again or get a new token first; *backoff* – repeat with growing, random pauses.
- **Raised**: *yes* – a real cause in this version leads to it; *injected* – only a fault-injection rule does.
`

var chapters = []struct {
	family     fault.Family
	title      string
	amqp, mqtt bool
}{
	{fault.Hub, "Hub", true, true},
	{fault.DPS, "Provisioning service", true, true},
	{fault.Control, "iot/v1", false, true},
	{fault.SIM, "Connectivity API", false, false},
}

func page() string {
	var b strings.Builder
	b.WriteString(legend)
	for _, chapter := range chapters {
		head := []string{"Code", "Name", "HTTP"}
		if chapter.amqp {
			head = append(head, "AMQP")
		}
		if chapter.mqtt {
			head = append(head, "MQTT")
		}
		head = append(head, "Retry", "Raised", "Cause", "Remedy")
		fmt.Fprintf(&b, "\n## %s\n\n", chapter.title)
		if chapter.family == fault.SIM {
			b.WriteString("The contract has names only; the numbers are for logs, injection and `nave explain`, and are never sent.\n\n")
		}
		line(&b, head...)
		line(&b, strings.Split(strings.Repeat("---,", len(head)-1)+"---", ",")...)
		for c := range fault.All() {
			if c.Family == chapter.family {
				line(&b, cells(c, chapter.amqp, chapter.mqtt)...)
			}
		}
	}
	return b.String()
}

func cells(c *fault.Code, amqp, mqtt bool) []string {
	status := strconv.Itoa(c.HTTP)
	if strings.Contains(c.Why, "Never an HTTP answer") || strings.Contains(c.Why, "in logs only") {
		status += "*"
	}
	row := []string{strconv.Itoa(c.ID), c.Name, status}
	if amqp {
		row = append(row, "`"+c.Condition()+"`")
	}
	if mqtt {
		row = append(row, c.MQTT.String())
	}
	raised := "injected"
	if c.Raised {
		raised = "yes"
	}
	return append(row, c.Retry.String(), raised, c.Why, c.Fix)
}

func line(b *strings.Builder, cells ...string) {
	for i, cell := range cells {
		cells[i] = strings.NewReplacer("|", `\|`, "*", `\*`, "<", "&lt;").Replace(cell)
	}
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}
