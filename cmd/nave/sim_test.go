package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/node"
)

// importSIMs imports n SIMs with ICCIDs that the hub allots.
func (s *stage) importSIMs(t *testing.T, n int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sims.csv")
	text := "offering\n" + strings.Repeat("off-default\n", n)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.command(t, 0, "sim", "import", file)
}

// TestAppTranscript runs what app create prints, as it is printed, twice: the
// second time the SIM is in service already.
func TestAppTranscript(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	s := newStage(t)
	s.importSIMs(t, 3)
	script := s.command(t, 0, "app", "create", "billing", "--email", "ops@example.com", "--permission", "connection-management-orchestrator:rw")
	sim := regexp.MustCompile(`SIM=(\S+)`).FindStringSubmatch(script)[1]
	shell := func(script string) string {
		out, err := exec.Command("sh", "-c", script).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	first, second := shell(script), shell(script)
	for _, want := range []string{`"totalCount":3`, `"status":"INVENTORY"`, `"state":"InProgress"`, `"state":"Completed"`, `"status":"ACTIVE"`, `"usageType":"DATA"`} {
		if !strings.Contains(first, want) {
			t.Errorf("no %s in %s", want, first)
		}
	}
	// What is so already is answered with the SIM card, without a monitor (SC-8).
	if strings.Contains(second, `problem`) || strings.Contains(second, `"state":`) || strings.Count(second, `"@type":"simCard","correlationId"`) != 1 {
		t.Errorf("the second time: %s", second)
	}
	if text := s.command(t, 0, "sim", "history", sim); !strings.Contains(text, "application ") || strings.Count(text, "ACTIVE") != 1 {
		t.Errorf("history: %s", text)
	}
	script = s.command(t, 0, "app", "create", "reader", "--email", "ops@example.com", "-p", "connectivity:ro")
	if out := shell(script); strings.Contains(script, "PATCH") || strings.Contains(out, "problem") || !strings.Contains(out, `"usageType":"DATA"`) {
		t.Errorf("a reader's transcript: %s\n%s", script, out)
	}
	// The secret is refreshed: what was printed is refused at once.
	s.command(t, 0, "app", "credential", "refresh", "reader")
	if out := shell(script); !strings.Contains(out, "token_invalid") {
		t.Errorf("with the old secret: %s", out)
	}
}

// TestSIMBulk imports and changes more SIMs than one request of the API takes.
func TestSIMBulk(t *testing.T) {
	s := newStage(t)
	const n = 2500
	s.importSIMs(t, n)
	var tasks []taskAnswer
	out := s.command(t, 0, "sim", "activate", "--status", "INVENTORY", "-o", "json")
	if err := json.Unmarshal([]byte(out), &tasks); err != nil || len(tasks) != 1 || tasks[0].Statistics.Succeeded != n {
		t.Fatalf("%v: %.500s", err, out)
	}
	out = s.command(t, 0, "sim", "suspend", "--offering", "Unlimited", "--reason", "winter pause", "--detach", "-o", "json")
	if err := json.Unmarshal([]byte(out), &tasks); err != nil || len(tasks) != 1 {
		t.Fatalf("%v: %.500s", err, out)
	}
	s.command(t, 0, "sim", "task", "cancel", tasks[0].ID)
	var b bytes.Buffer
	code := runContext(t.Context(), []string{"sim", "track", tasks[0].ID, "-o", "json"}, newEnv(strings.NewReader(""), &b, &b))
	text, _, _ := strings.Cut(b.String(), "\nerror:")
	if err := json.Unmarshal([]byte(text), &tasks); err != nil {
		t.Fatalf("%v: %.500s", err, &b)
	}
	k := tasks[0]
	if k.Statistics.InProgress != 0 || k.Statistics.Succeeded+k.Statistics.Failed != n || k.cancelled() != k.Statistics.Failed || code != map[bool]int{true: 1}[k.Statistics.Failed > 0] {
		t.Errorf("exit code %d, %+v, %d cancelled", code, k.Statistics, k.cancelled())
	}
	out = s.command(t, 0, "sim", "list", "--status", "SUSPENDED", "-o", "json")
	if want := fmt.Sprintf(`"totalCount": %d`, k.Statistics.Succeeded); !strings.Contains(out, want) {
		t.Errorf("no %s in %.300s", want, out[max(0, len(out)-600):])
	}
}

// TestBenchSIM measures for a moment.
func TestBenchSIM(t *testing.T) {
	s := newStage(t, func(c *node.Config) { c.Connectivity.RateLimit = node.RateLimit{} })
	var found simResults
	out := s.command(t, 0, "bench", "sim", "-n", "2000", "-c", "2", "-t", "200ms", "--warmup", "50ms", "-o", "json")
	if err := json.Unmarshal([]byte(out), &found); err != nil || found.SIMs != 2000 || found.Changes == nil || found.Changes.Answered == 0 || found.First.Answered == 0 ||
		found.Deep.Answered == 0 || found.Filtered.Answered == 0 || found.One.Answered == 0 {
		t.Errorf("%v: %s", err, out)
	}
	if out := s.command(t, 0, "sim", "platform", "list") + s.command(t, 0, "app", "list"); strings.Contains(out, "BENCH") || strings.Contains(out, "bench") {
		t.Errorf("left: %s", out)
	}
}

// TestConnectivityGuide runs docs/connectivity.md as it is printed: each line
// that begins with $ by sh, with what follows as its output, where … is any text
// and alone any lines. A command that ends with & runs on until the end.
func TestConnectivityGuide(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the binary")
	}
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	text, err := os.ReadFile("../../docs/connectivity.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t)
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "nave"), ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for at, block := range strings.Split(string(text), "```") {
		if rest, ok := strings.CutPrefix(block, "console\n"); ok && at%2 == 1 {
			for part := range strings.SplitSeq("\n"+rest, "\n$ ") {
				if command, want, _ := strings.Cut(part, "\n"); command != "" {
					s.guide(t, dir, command, lines(want))
				}
			}
		}
	}
}

func (s *stage) guide(t *testing.T, dir, command string, want []string) {
	t.Helper()
	if before, ok := strings.CutSuffix(command, " &"); ok {
		c := exec.Command("sh", "-c", "exec "+before)
		c.Dir = dir
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			c.Process.Signal(os.Interrupt)
			c.Wait()
		})
		return
	}
	// What a command shows may need a moment for what runs beside it.
	var got []string
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		c := exec.Command("sh", "-c", command)
		c.Dir = dir
		out, _ := c.CombinedOutput()
		if got = lines(string(out)); match(want, got) {
			return
		}
		if time.Now().After(end) || !strings.Contains(command, " show ") && !strings.Contains(command, " why ") && !strings.Contains(command, " add ") && !strings.Contains(command, " sessions ") && !strings.Contains(command, " usage ") {
			break
		}
	}
	t.Fatalf("$ %s\n%s\nwant\n%s", command, strings.Join(got, "\n"), strings.Join(want, "\n"))
}
