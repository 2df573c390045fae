package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"
)

// options are the flags.
type options struct {
	rounds, devices int
	seed            uint64
	binary, data    string
	faults          bool
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	o, short := options{}, false
	f := flag.NewFlagSet("torture", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.rounds, "rounds", 30, "how often the hub is killed and restarted")
	f.IntVar(&o.devices, "devices", 12, "devices that send")
	f.Uint64Var(&o.seed, "seed", 0, "of the moments of the kills; 0: a random one, which is printed")
	f.StringVar(&o.binary, "binary", "bin/nave", "the program")
	f.StringVar(&o.data, "data", "", "folder for data and logs, on a real disk, which is kept; empty: a temporary one, kept after a violation only")
	f.BoolVar(&o.faults, "faults", true, "also play a full disk and failing syncs")
	f.BoolVar(&short, "short", false, "5 rounds")
	if f.Parse(args) != nil || f.NArg() > 0 {
		return 2
	}
	if short {
		o.rounds = 5
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	ok, err := torture(&o, stdout)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	if !ok {
		return 1
	}
	return 0
}

// torture plays everything; false when a promise was broken.
func torture(o *options, out io.Writer) (ok bool, err error) {
	if o.binary, err = filepath.Abs(o.binary); err != nil {
		return false, err
	}
	if _, err := os.Stat(o.binary); err != nil {
		return false, fmt.Errorf("there is no program to torture, run 'make build': %w", err)
	}
	dir, remove := o.data, false
	if dir == "" {
		if dir, err = os.MkdirTemp("", "nave-torture-"); err != nil {
			return false, err
		}
		remove = true
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	ok = true
	for _, s := range scenes(o, dir, out) {
		good, err := s.perform(out)
		if err != nil {
			return false, fmt.Errorf("%w\nThe data folder is kept: %s", err, dir)
		}
		ok = ok && good
	}
	if remove && ok {
		os.RemoveAll(dir)
	} else {
		fmt.Fprintln(out, "The data folder is kept:", dir)
	}
	return ok, nil
}

// scene is one torture.
type scene struct {
	name string
	play func() (*ledger, error)
}

func scenes(o *options, dir string, out io.Writer) []scene {
	at := func(name string) *site {
		return &site{binary: o.binary, data: filepath.Join(dir, name, "data"), log: filepath.Join(dir, name+".log")}
	}
	k := &killing{rounds: o.rounds, devices: o.devices, seed: o.seed, out: out}
	all := []scene{{fmt.Sprintf("kill -9, %d rounds, seed %d", o.rounds, o.seed), func() (*ledger, error) {
		s := at("kill")
		return withFolder(s, func() (*ledger, error) { return k.run(s) })
	}}}
	if !o.faults {
		return all
	}
	return append(all,
		scene{"full disk", func() (*ledger, error) { return playFullDisk(at("full"), o.devices, out) }},
		scene{"failing sync", func() (*ledger, error) { return playFailingSync(at("sync"), o.devices, out) }})
}

func withFolder(s *site, f func() (*ledger, error)) (*ledger, error) {
	if err := os.MkdirAll(filepath.Dir(s.data), 0o700); err != nil {
		return nil, err
	}
	return f()
}

// diskSize is that of the disk that is filled, in megabytes.
const diskSize = 64

func playFullDisk(s *site, devices int, out io.Writer) (*ledger, error) {
	unmount, err := mount(filepath.Dir(s.data), diskSize)
	if err != nil {
		return nil, err
	}
	defer unmount()
	return fullDisk(s.data).play(s, devices, out)
}

func playFailingSync(s *site, devices int, out io.Writer) (*ledger, error) {
	f, err := failingSync()
	if err != nil {
		return nil, err
	}
	return withFolder(s, func() (*ledger, error) { return f.play(s, devices, out) })
}

// perform plays a scene and prints how it ended.
func (s *scene) perform(out io.Writer) (ok bool, err error) {
	fmt.Fprintf(out, "== %s\n", s.name)
	begun := time.Now()
	l, err := s.play()
	if errors.Is(err, errLacking) && os.Getenv("CI") == "" {
		fmt.Fprintln(out, "SKIP:", err)
		return true, nil
	}
	bad := 0
	if l != nil {
		var shown []string
		bad, shown = l.violations()
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, row := range l.table() {
			fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
		}
		w.Flush()
		fmt.Fprintf(out, "%d violations in %v\n", bad, time.Since(begun).Round(time.Second))
		for _, text := range shown {
			fmt.Fprintln(out, "VIOLATION:", text)
		}
	}
	return bad == 0 && err == nil, err
}
