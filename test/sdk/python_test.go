package sdk_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestPython runs the Python SDKs: azure-iot-device, and the REST part of
// azure-iot-hub, whose AMQP library exists for some versions of Python only.
func TestPython(t *testing.T) {
	gate(t)
	python := environment(t, tool(t, "python3"), "python/requirements.txt", filepath.Join("python", ".venv", "device"))
	r := start(t)
	drive := func(python string) func(string) *exec.Cmd {
		return func(name string) *exec.Cmd {
			cmd := exec.Command(python, "-B", "driver.py", name)
			cmd.Dir = "python"
			cmd.Env = []string{"REQUESTS_CA_BUNDLE=" + r.Node.CAFile()}
			return cmd
		}
	}
	areas(t, r, []area{{"mqtt", false}, {"mqttws", true}}, drive(python))
	t.Run("service SDK", func(t *testing.T) {
		python := environment(t, tool(t, "python3"), "python/requirements-service.txt", filepath.Join("python", ".venv", "service"))
		areas(t, r, []area{{"service", true}}, drive(python))
	})
}

// TestPythonBackEnd runs azure-eventhub.
func TestPythonBackEnd(t *testing.T) {
	gate(t)
	python := environment(t, tool(t, "python3"), "python/requirements-events.txt", filepath.Join("python", ".venv", "events"))
	areas(t, startQuiet(t), []area{{"events", false}}, func(name string) *exec.Cmd {
		cmd := exec.Command(python, "-B", "driver.py", name)
		cmd.Dir = "python"
		return cmd
	})
}

// environment returns the interpreter of a virtual environment with the
// packages of python/requirements.txt and those of the lock file.
func environment(t *testing.T, python, lock, folder string) string {
	t.Helper()
	bin := filepath.Join(folder, "bin")
	if runtime.GOOS == "windows" {
		bin = filepath.Join(folder, "Scripts")
	}
	inside := filepath.Join(bin, "python")
	installed(t, lock, version(t, python), folder, func(ctx context.Context) error {
		if err := command(ctx, "", python, "-m", "venv", folder); err != nil {
			return err
		}
		err := command(ctx, "", inside, "-m", "pip", "install", "--quiet", "--no-deps", "-r", "python/requirements.txt")
		if err == nil && lock != "python/requirements.txt" {
			err = command(ctx, "", inside, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", "uamqp", "-r", lock)
		}
		if err != nil && strings.Contains(err.Error(), "No matching distribution found for uamqp") {
			t.Skipf("the vendor ships no uamqp, which azure-iot-hub needs, for this Python: %v", err)
		}
		return err
	})
	inside, err := filepath.Abs(inside)
	if err != nil {
		t.Fatal(err)
	}
	return inside
}
