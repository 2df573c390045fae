package report

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// TPM is the folder of the module with the software TPM, from the root.
const TPM = "test/tpm"

// tpmModule is what go test would call its package.
const tpmModule = "github.com/nave-hub/nave/" + TPM

// Everything runs the tests of all modules, from the root of the repository: the main one with the drivers of the vendors'
// SDKs, which installs their packages into test/sdk, then the one with the software TPM, which uses them.
func Everything(out io.Writer) (*Result, error) {
	all, err := Run(out, ".", []string{"NAVE_TEST_SDK=1"}, "-timeout", "45m", "./...")
	if err != nil {
		return all, err
	}
	if lack := LackForTPM(); lack != "" {
		all.lack(out, tpmModule, lack)
		return all, nil
	}
	modules, err := filepath.Abs("test/sdk/node/node_modules")
	if err != nil {
		return all, err
	}
	r, err := Run(out, TPM, []string{"CGO_ENABLED=1", "NAVE_TPM_MODULES=" + modules}, "-timeout", "20m", "./...")
	all.add(r)
	return all, err
}

// LackForTPM says what this machine lacks to build the software TPM, which is C; "" when it lacks nothing.
func LackForTPM() string {
	if _, err := exec.LookPath("gcc"); err != nil {
		return "the software TPM is C: gcc is missing"
	}
	out, err := exec.Command("gcc", "-E", "-include", "openssl/aes.h", "-x", "c", "-o", os.DevNull, os.DevNull).CombinedOutput()
	if err != nil {
		first, _, _ := strings.Cut(string(out), "\n")
		return "the software TPM needs the headers of OpenSSL (libssl-dev): " + first
	}
	return ""
}

// add takes over what another run found.
func (r *Result) add(other *Result) {
	for key, t := range other.Tests {
		r.Tests[key] = t
	}
	for name, outcome := range other.Packages {
		r.Packages[name] = outcome
	}
	for name, lines := range other.said {
		r.said[name] = lines
	}
	r.broken = append(r.broken, other.broken...)
}

// lack counts a package whose tests could not run as one that was skipped, or that failed where CI is set.
func (r *Result) lack(out io.Writer, name, reason string) {
	outcome := Skip
	if os.Getenv("CI") != "" {
		outcome = Fail
		r.takePackage(out, &event{Action: Fail, Package: name})
	}
	r.Tests[name] = &Test{Package: name, Name: "(all)", Outcome: outcome, Output: []string{reason + "\n"}}
}
