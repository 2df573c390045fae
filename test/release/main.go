// Command release is "make release": it builds the binary for every platform
// that is served, without cgo and with reproducible paths, and writes their
// checksums. The version is that of the build information: the tag of a clean
// checkout, or the commit.
package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// platform is an operating system and a processor, as the go command calls
// them.
type platform struct{ system, processor, arm string }

var platforms = []platform{
	{system: "linux", processor: "amd64"},
	{system: "linux", processor: "arm64"},
	{system: "linux", processor: "arm", arm: "7"},
	{system: "windows", processor: "amd64"},
	{system: "darwin", processor: "arm64"},
	{system: "freebsd", processor: "amd64"},
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("release", flag.ContinueOnError)
	f.SetOutput(stderr)
	dir := f.String("out", "dist", "folder for the binaries, which is emptied of earlier ones")
	if f.Parse(args) != nil || f.NArg() > 0 {
		return 2
	}
	if err := release(*dir, stdout); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// release builds everything into dir.
func release(dir string, out io.Writer) error {
	if err := clear(dir); err != nil {
		return err
	}
	var sums bytes.Buffer
	for _, p := range platforms {
		file := filepath.Join(dir, p.file())
		if err := p.build(file); err != nil {
			return err
		}
		sum, size, err := digest(file)
		if err != nil {
			return err
		}
		version, err := versionOf(file)
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, p.file())
		fmt.Fprintf(out, "%-26s %5.1f MB  version %s\n", p.file(), float64(size)/1e6, version)
	}
	name := filepath.Join(dir, "SHA256SUMS")
	if err := os.WriteFile(name, sums.Bytes(), 0o644); err != nil {
		return err
	}
	fmt.Fprintln(out, name)
	return nil
}

// clear makes dir and removes what an earlier release left in it.
func clear(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "nave_*"))
	if err != nil {
		return err
	}
	for _, file := range append(old, filepath.Join(dir, "SHA256SUMS")) {
		if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

func (p platform) file() string {
	name := "nave_" + p.system + "_" + p.processor
	if p.arm != "" {
		name += "v" + p.arm
	}
	if p.system == "windows" {
		name += ".exe"
	}
	return name
}

func (p platform) build(file string) error {
	c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, "./cmd/nave")
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GOARM") && !strings.HasPrefix(v, "GOAMD64") {
			c.Env = append(c.Env, v)
		}
	}
	c.Env = append(c.Env, "CGO_ENABLED=0", "GOOS="+p.system, "GOARCH="+p.processor)
	if p.arm != "" {
		c.Env = append(c.Env, "GOARM="+p.arm)
	}
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: go build: %w\n%s", p.file(), err, out)
	}
	return nil
}

func digest(file string) (sum string, size int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), size, err
}

// versionOf reads the version out of a binary, which "nave version" prints.
func versionOf(file string) (string, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return "", err
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v, nil
	}
	return "unknown: not built in a checkout", nil
}
