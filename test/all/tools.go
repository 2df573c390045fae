package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// tool is something from outside that some tests need. Without it they are
// skipped and say so, or fail when CI is set.
type tool struct {
	pack  string // Debian package
	found func() bool
}

var tools = []tool{
	{"python3-qpid-proton", func() bool { return exec.Command("/usr/bin/python3", "-c", "import proton").Run() == nil }},
	{"mosquitto-clients", inPath("mosquitto_pub")},
	{"postgresql", func() bool { all, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres"); return len(all) > 0 }},
	{"strace", inPath("strace")},
	{"gcc", inPath("gcc")},
	{"maven", inPath("mvn")},
	{"default-jdk-headless", inPath("javac")},
	{"libssl-dev", func() bool { _, err := os.Stat("/usr/include/openssl/aes.h"); return err == nil }},
}

func inPath(name string) func() bool {
	return func() bool { _, err := exec.LookPath(name); return err == nil }
}

// install brings what is missing from Debian's packages where that is possible,
// and says what stays missing.
func install() error {
	var missing []string
	for _, t := range tools {
		if !t.found() {
			missing = append(missing, t.pack)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		fmt.Println("not installed, the tests that need it are skipped:", strings.Join(missing, " "))
		return nil
	}
	fmt.Println("installing", strings.Join(missing, " "))
	os.Setenv("DEBIAN_FRONTEND", "noninteractive")
	if err := again(func() error { return aptInstall(missing) }); err != nil {
		fmt.Println("not installed, the tests say what they miss:", err)
	}
	return nil
}

func aptInstall(packages []string) error {
	always := []string{"-qq", "-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=300"}
	for _, args := range [][]string{{"update"}, append([]string{"install", "-y", "--no-install-recommends"}, packages...)} {
		if out, err := exec.Command("apt-get", append(slices.Clone(always), args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}

// again calls f up to four times until it works, for what the network may break.
func again(f func() error) (err error) {
	for pause := 5 * time.Second; ; pause *= 3 {
		if err = f(); err == nil || pause > time.Minute {
			return err
		}
		fmt.Printf("%v\nonce more in %v\n", err, pause)
		time.Sleep(pause)
	}
}
