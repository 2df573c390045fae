package dpsapi_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestFaults injects each code of the family into a register over each protocol
// and compares what devices see with a table.
func TestFaults(t *testing.T) {
	t.Run("DPS-032 DPS-263 every code over every protocol", func(t *testing.T) {
		k := open(t)
		d := k.enrol(t, "every-1")
		m, p := d.mqtt(), d.amqp()
		var b bytes.Buffer
		for code := range fault.All() {
			if code.Family != fault.DPS {
				continue
			}
			clear := k.inject(t, gate.Rule{Op: "dps.register", Code: code.ID})
			over := d.register("").want(code.HTTP, code.ID)
			over.errorForm()
			if over.header.Get("x-ms-error-code") != strconv.Itoa(code.ID) {
				t.Errorf("%d: %v", code.ID, over.header)
			}
			topic, a := m.inject()
			a.want(code.HTTP, code.ID).errorForm()
			e, c := p.rejected(registerMessage(""))
			c.want(0, code.ID).errorForm()
			clear()
			fmt.Fprintf(&b, "%d %s\n  https %d%s\n  mqtt %s\n  amqp %s%s\n", code.ID, code.Name, over.code, hint(over.header.Get("Retry-After")),
				topic, e.Condition, hint(infoOf(e)))
		}
		golden(t, "faults.golden", b.Bytes())
	})
}

// inject registers and returns the topic of the answer.
func (m *mqttPeer) inject() (string, *answer) {
	m.t.Helper()
	m.publish(registerTopic+"R", "")
	return m.reply()
}

func hint(text string) string {
	if text == "" {
		return ""
	}
	return ", again after " + text
}

func infoOf(e *amqp.Error) string {
	if e.Info == nil {
		return ""
	}
	return fmt.Sprint(e.Info)
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s differs, %v; run with -update and look at the difference:\n%s", file, err, got)
	}
}
