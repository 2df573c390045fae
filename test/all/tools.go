package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	for _, args := range [][]string{{"update", "-qq"}, append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing...)} {
		if out, err := exec.Command("apt-get", args...).CombinedOutput(); err != nil {
			fmt.Printf("apt-get %s: %v\n%s", args[0], err, out)
			return nil // the tests say what they miss
		}
	}
	return nil
}
