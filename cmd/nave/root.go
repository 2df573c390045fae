package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/fault"
)

// run does what the arguments say and returns the exit code: 0, 1 for a
// failure, 2 for a command line that is wrong.
func run(args []string, in io.Reader, out, err io.Writer) int {
	ctx, stop := interruptible(context.Background())
	defer stop()
	return runContext(ctx, args, newEnv(in, out, err))
}

// sameSignal is how long a repeated signal counts as the first: timeout(1) sends
// it to the program and then to its group.
const sameSignal = 300 * time.Millisecond

// interruptible returns a context that ends with the first Ctrl-C or SIGTERM.
// Soon after that signals are no longer caught, so that the second one kills.
func interruptible(parent context.Context) (context.Context, func()) {
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() { time.AfterFunc(sameSignal, stop) })
	return ctx, stop
}

func runContext(ctx context.Context, args []string, e *env) int {
	root := rootCommand(e)
	root.SetArgs(args)
	root.SetIn(e.in)
	root.SetOut(e.out)
	root.SetErr(e.err)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	e.plain()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return 130
	}
	return e.tell(whichThere(usageError(err), command), command.CommandPath())
}

// whichThere names the command that lists what there is, for an answer that says
// only that something is not there.
func whichThere(err error, command *cobra.Command) error {
	var f *failure
	parent := command.Parent()
	if !errors.As(err, &f) || f.code != fault.GenericNotFound || parent == nil {
		return err
	}
	for _, c := range parent.Commands() {
		if c.Name() == "list" {
			f.fix = "'" + c.CommandPath() + "' shows which there are."
		}
	}
	return err
}

// usageError gives the errors that cobra finds in a command line their exit
// code.
func usageError(err error) error {
	var ours *failure
	if errors.As(err, &ours) {
		return err
	}
	text := err.Error()
	for _, start := range []string{"unknown command", "unknown flag", "unknown shorthand", "accepts ", "requires ", "required flag", "flag needs", "if any flags", "bad flag syntax", "at least one of the flags"} {
		if strings.HasPrefix(text, start) {
			head, suggestion, _ := strings.Cut(text, "\n\n")
			return misuse(strings.Join(strings.Fields(suggestion), " "), "%s", head)
		}
	}
	return err
}

// Groups of commands in the help.
const (
	groupRun     = "run"
	groupDevices = "devices"
	groupFind    = "find"
	groupHub     = "hub"
)

func rootCommand(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "nave",
		Short: "An IoT hub on your own machine",
		Long: `nave runs an IoT hub that unmodified IoT Hub device and service SDKs talk to, and
manages its devices from the command line.

Commands reach the hub through the console of a node on this machine, which they
find in the data folder; or any compatible hub with --login.`,
		Example: `  nave serve
  nave device create sensor1
  nave monitor --device sensor1
  nave explain 404103`,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return e.settle(cmd) },
	}
	root.AddGroup(&cobra.Group{ID: groupRun, Title: "Run:"}, &cobra.Group{ID: groupDevices, Title: "Devices:"},
		&cobra.Group{ID: groupFind, Title: "Find out:"}, &cobra.Group{ID: groupHub, Title: "Manage the hub:"})
	e.globalFlags(root)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return misuse("", "%v", err) })
	add := func(group string, all ...*cobra.Command) {
		for _, c := range all {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupRun, serveCommand(e), simulateCommand(e), benchCommand(e), platformCommand(e))
	add(groupDevices, deviceCommand(e), dpsCommand(e), moduleCommand(e), twinCommand(e), methodCommand(e), c2dCommand(e), controlCommand(e), simCommand(e), appCommand(e))
	add(groupFind, monitorCommand(e), explainCommand(e), whyCommand(e), statusCommand(e))
	add(groupHub, policyCommand(e), groupCommand(e), authorityCommand(e), injectCommand(e), configCommand(e))
	root.AddCommand(versionCommand(e))
	return root
}

func (e *env) globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVarP(&e.output, "output", "o", "table", "form of the answer: table (text) or json")
	f.StringVar(&e.data, "data", "", "data folder of the node (NAVE_DATA; nave-data)")
	f.StringVar(&e.hub, "hub", "", "host name of the hub (NAVE_HUB; the node's first)")
	f.StringVar(&e.console, "console", "", "URL of a node's console (NAVE_CONSOLE; found in the data folder)")
	f.StringVar(&e.token, "token", "", "token of that console (NAVE_TOKEN)")
	f.StringVar(&e.login, "login", "", "service connection string, to call any hub over HTTPS (NAVE_LOGIN)")
	f.StringVar(&e.ca, "ca", "", "PEM file with the CA that --login trusts (ca.pem of the data folder)")
	f.BoolVar(&e.noColor, "no-color", false, "no colours (NO_COLOR)")
	root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.MarkPersistentFlagDirname("data")
	root.MarkPersistentFlagFilename("ca", "pem", "crt")
}

// settle completes what the flags leave open from the environment.
func (e *env) settle(cmd *cobra.Command) error {
	e.plain()
	flags := cmd.Root().PersistentFlags()
	if flags.Changed("login") && flags.Changed("console") {
		return misuse("Give one of them.", "--login and --console both say where the hub is")
	}
	named := flags.Changed("login") || flags.Changed("console") || flags.Changed("data")
	for _, f := range []struct {
		to     *string
		name   string
		always bool // whether a flag that names a hub leaves the variable in force
	}{{&e.data, "NAVE_DATA", true}, {&e.hub, "NAVE_HUB", true}, {&e.token, "NAVE_TOKEN", true}, {&e.console, "NAVE_CONSOLE", false}, {&e.login, "NAVE_LOGIN", false}} {
		if *f.to == "" && (f.always || !named) {
			*f.to = e.environ(f.name)
		}
	}
	if e.data == "" {
		e.data = "nave-data"
	}
	if allowed := outputs(cmd); !slices.Contains(allowed, e.output) {
		return misuse("", "--output is %q, allowed are %s", e.output, strings.Join(allowed, " and "))
	}
	return nil
}

// outputs returns the forms a command knows; monitor says text where others
// say table.
func outputs(cmd *cobra.Command) []string {
	if cmd.Name() == "monitor" {
		return []string{"table", "text", "json"}
	}
	return []string{"table", "json"}
}
