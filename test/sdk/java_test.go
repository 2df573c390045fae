package sdk_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// javaTimeout is for all cases together, which run at the same time.
const javaTimeout = 6 * time.Minute

// TestDPSJava provisions devices with the vendor's Java clients, as TestDPS does
// with those of other languages.
func TestDPSJava(t *testing.T) {
	java := javaDriver(t)
	r := startDPS(t)
	r.dps.buildTPM(t)
	launch(t, r, newProxy(t, ""), r.about(""), java(r)).runTogether(t)
}

// javaDriver returns what makes the command of the driver for a rig, or skips
// the test. Maven brings the packages and compiles once: it is not asked again
// until the driver changes.
func javaDriver(t *testing.T) func(*rig) *exec.Cmd {
	t.Helper()
	gate(t)
	java, keytool, mvn := tool(t, "java"), tool(t, "keytool"), tool(t, "mvn")
	tool(t, "javac")
	installed(t, sources(t, "java"), version(t, java), "java/target", func(ctx context.Context) error {
		return command(ctx, "java", mvn, "-q", "-B", "compile", "dependency:copy-dependencies", "-DoutputDirectory=target/lib")
	})
	return func(r *rig) *exec.Cmd {
		trust, secret := filepath.Join(t.TempDir(), "trust.p12"), "nave-test"
		err := command(t.Context(), "", keytool, "-importcert", "-noprompt", "-alias", "nave", "-file", r.Node.CAFile(),
			"-keystore", trust, "-storetype", "PKCS12", "-storepass", secret)
		if err != nil {
			t.Fatal(err)
		}
		level := "error"
		if l := os.Getenv("NAVE_TEST_SDK_JAVA_LOG"); l != "" {
			level = l
		}
		cmd := exec.Command(java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto",
			"-Djavax.net.ssl.trustStore="+trust, "-Djavax.net.ssl.trustStorePassword="+secret, "-Dorg.slf4j.simpleLogger.defaultLogLevel="+level,
			"-cp", "target/classes"+string(os.PathListSeparator)+"target/lib/*", "nave.Driver")
		cmd.Dir = "java"
		return cmd
	}
}

// sources writes everything that the driver in a folder is made of to one file.
func sources(t *testing.T, folder string) string {
	t.Helper()
	var all bytes.Buffer
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "target":
			return filepath.SkipDir
		case d.IsDir():
			return nil
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s %d\n%s", filepath.ToSlash(path), len(text), text)
		return err
	})
	file := filepath.Join(t.TempDir(), folder)
	if err == nil {
		err = os.WriteFile(file, all.Bytes(), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// runTogether is run for a driver that runs its cases at the same time.
func (d *driver) runTogether(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), javaTimeout)
	done := map[string]chan *line{}
	for _, name := range d.cases {
		done[name] = make(chan *line, 1)
		if err := d.say(map[string]any{"run": name}); err != nil {
			t.Fatal(err)
		}
	}
	over := make(chan error, 1)
	go func() { over <- d.dispatch(ctx, done) }()
	for _, name := range d.cases {
		t.Run(name, func(t *testing.T) {
			if l := <-done[name]; l == nil {
				t.Error("the driver ended before the case did")
			} else if !l.OK {
				t.Errorf("after %d ms: %s", l.MS, l.Error)
			}
		})
	}
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Log(d.log)
	}
}

// dispatch answers what the cases ask, and hands on how they ended, until all
// have; the channels are closed then.
func (d *driver) dispatch(ctx context.Context, done map[string]chan *line) error {
	ctx, cancel := context.WithCancel(ctx)
	var answers sync.WaitGroup
	defer func() {
		cancel()
		answers.Wait()
		for _, c := range done {
			close(c)
		}
	}()
	for left := len(done); left > 0; {
		l, raw, err := d.next(ctx)
		if err != nil {
			return err
		}
		if l.Ask != 0 {
			answers.Go(func() { d.answer(ctx, &l, raw) })
			continue
		}
		c := done[l.Case]
		if c == nil {
			return fmt.Errorf("the driver ran %q", l.Case)
		}
		c <- &l
		left--
	}
	return nil
}
