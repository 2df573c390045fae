package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/node"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	config string
	set    []string
	named  map[string]*string // flag to its setting's value
	quiet  bool
}

// shortcuts are the settings that have a flag of their own.
var shortcuts = []struct{ flag, setting, help string }{
	{"host", "hub.host", "host name of the hub, as connection strings call it (localhost)"},
	{"https", "listen.https", "address for HTTPS and WebSockets, or off (:443)"},
	{"mqtt", "listen.mqtt", "address for MQTT over TLS, or off (:8883)"},
	{"amqp", "listen.amqp", "address for AMQP over TLS, or off (:5671)"},
	{"console", "listen.console", "address of the console, or off (127.0.0.1:8080)"},
}

func serveCommand(e *env) *cobra.Command {
	f := serveFlags{named: map[string]*string{}}
	c := &cobra.Command{Use: "serve", Short: "Run a hub", Args: cobra.NoArgs, Aliases: []string{"run"},
		Long: `Serve runs a hub in a data folder, which it makes when there is none, and prints
what clients need to connect. Ctrl-C stops it cleanly, a second one at once; the
next start finds everything again.`,
		Example: `  nave serve
  nave serve --host hub.example.com --data /var/lib/nave
  nave serve --config nave.yaml
  nave serve --set hub.sku=S2 --set log.level=debug`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := f.load(cmd, e)
			if err != nil {
				return err
			}
			return e.serve(cmd.Context(), conf, f.quiet)
		}}
	for _, s := range shortcuts {
		f.named[s.setting] = c.Flags().String(s.flag, "", s.help)
	}
	c.Flags().StringVar(&f.config, "config", "", "YAML file with settings (NAVE_CONFIG)")
	c.Flags().StringArrayVar(&f.set, "set", nil, "NAME=VALUE, any setting of 'nave config docs', may be repeated")
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print nothing but warnings and errors")
	c.MarkFlagFilename("config", "yaml", "yml")
	return c
}

// load reads the configuration: file, variables, then flags.
func (f *serveFlags) load(cmd *cobra.Command, e *env) (*node.Config, error) {
	set := map[string]any{}
	for _, text := range f.set {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, misuse("Write --set NAME=VALUE.", "--set %q has no value", text)
		}
		set[name] = value
	}
	for name, value := range f.named {
		if *value != "" {
			set[name] = *value
		}
	}
	if cmd.Root().PersistentFlags().Changed("data") {
		set["data"] = e.data
	}
	return e.load(f.config, set)
}

func (e *env) load(file string, set map[string]any) (*node.Config, error) {
	if file == "" {
		file = e.environ("NAVE_CONFIG")
	}
	conf, err := node.Load(file, os.Environ(), set)
	if err != nil {
		return nil, trouble("'nave config docs' lists every setting.", "%w", err)
	}
	return conf, nil
}

// serve runs a node until ctx ends.
func (e *env) serve(ctx context.Context, conf *node.Config, quiet bool) error {
	log, err := e.logger(conf, quiet)
	if err != nil {
		return err
	}
	n, err := node.Start(ctx, conf, node.Options{Log: log, Version: version()})
	if err != nil {
		return trouble(startFix(err, conf), "the hub can't start: %w", err)
	}
	e.data = conf.Data
	for _, note := range n.Notes() {
		e.say("%s %s", paint(e.colorErr, yellow, "Note:"), note)
	}
	if !quiet {
		err = e.welcome(ctx, n, conf)
	}
	if err == nil {
		<-ctx.Done()
		if !quiet {
			e.say("Stopping. Ctrl-C again stops at once.")
		}
	}
	if closed := n.Close(); err == nil && closed != nil {
		return trouble("What was acknowledged is on disk all the same.", "the hub did not stop cleanly: %w", closed)
	}
	return orderly(err)
}

// startFix tells what to do when a hub can't start.
func startFix(err error, conf *node.Config) string {
	switch {
	case errors.Is(err, node.ErrInUse):
		return "Stop the hub that runs there, or give this one a folder and ports of its own: --data FOLDER --https :8443 --mqtt :8884 --amqp :5673 --console 127.0.0.1:8081."
	case errors.Is(err, syscall.EADDRINUSE):
		return "Stop what listens there, or choose another address with --https, --mqtt, --amqp or --console, for example --https :8443; off switches one off."
	case errors.Is(err, os.ErrPermission):
		return "Run it as the user who owns " + absolute(conf.Data) + ", or choose another folder with --data and ports above 1023."
	}
	return "'nave serve --help' shows the flags, 'nave config docs' every setting."
}

// logger writes the node's log for people, on err.
func (e *env) logger(conf *node.Config, quiet bool) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(conf.Log.Level)); err != nil {
		return nil, misuse("Allowed are debug, info, warn and error.", "log.level is %q", conf.Log.Level)
	}
	if quiet {
		level = max(level, slog.LevelWarn)
	}
	o := &slog.HandlerOptions{Level: level}
	switch conf.Log.Format {
	case "json":
		return slog.New(slog.NewJSONHandler(e.err, o)), nil
	case "text":
		return slog.New(slog.NewTextHandler(e.err, o)), nil
	}
	return nil, misuse("Allowed are text and json.", "log.format is %q", conf.Log.Format)
}

// welcome prints what clients need, in a form to copy.
func (e *env) welcome(ctx context.Context, n *node.Node, conf *node.Config) error {
	host := strings.ToLower(conf.Hub.Host)
	if n.Address("console") == "" {
		e.print("The hub %s runs. Its console is off, so no connection strings are shown here.", host)
		return nil
	}
	e.login, e.console, e.token, e.hub = "", "", "", host
	c, err := e.operator(ctx)
	if err != nil {
		return err
	}
	var s stringsAnswer
	if err := c.askHub(ctx, http.MethodGet, "/strings", nil, &s); err != nil {
		return err
	}
	first, err := e.firstDevice(ctx, c, n.First())
	if err != nil {
		return err
	}
	e.print("%s", paint(e.colorOut, bold, "The hub "+host+" runs."))
	e.print("")
	e.facts("HTTPS", n.Address("https"), "MQTT", n.Address("mqtt"), "AMQP", n.Address("amqp"), "Data folder", absolute(conf.Data),
		"CA file", absolute(n.CAFile()), "Status page", c.base+"/?token="+c.token)
	e.block("Service connection string (policy iothubowner)", s.Service)
	e.block("Event Hubs connection string (policy service)", s.Events)
	if _, port, err := net.SplitHostPort(n.Address("amqpPlain")); err == nil {
		plain := strings.Replace(s.Events, "/;", ":"+port+"/;", 1) // of Endpoint
		e.block("The same without TLS", plain+";UseDevelopmentEmulator=true")
	}
	if err := e.welcomeDPS(ctx, n); err != nil {
		return err
	}
	name := "DEVICE"
	if first != nil {
		name = first.Device
		e.block("Connection string of the device "+name, c.connectionString(first, false))
	}
	e.suggest(conf, name, n.CAFile())
	return nil
}

func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil && path != "" {
		return full
	}
	return path
}

// block prints a heading and a line to copy, which stands alone.
func (e *env) block(head, line string) {
	if line == "" {
		return
	}
	e.print("")
	e.print("%s", paint(e.colorOut, bold, head))
	e.print("%s", line)
}

// suggest prints the next commands to try.
func (e *env) suggest(conf *node.Config, device, ca string) {
	at := ""
	if conf.Data != "nave-data" {
		at = " --data " + shellWord(absolute(conf.Data))
	}
	e.print("")
	e.print("%s", paint(e.colorOut, bold, "Try next, in another terminal"))
	nave := program()
	e.print("%s monitor%s", nave, at)
	e.print("%s simulate --devices 10 --rate 5%s", nave, at)
	e.print("%s c2d send %s 'hello'%s", nave, shellWord(device), at)
	if conf.DPS.Enabled {
		e.print("%s dps enrollment create sensor1%s", nave, at)
	}
	if ca != "" {
		e.print("")
		e.print("SDKs must trust the CA, for example: export NODE_EXTRA_CA_CERTS=%s", shellWord(absolute(ca)))
	}
}

// shellWord quotes what a shell would take apart.
func shellWord(text string) string {
	if strings.IndexFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:,@%+=", r))
	}) < 0 && text != "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// firstName is the device that a new hub starts with.
const firstName = "device1"

// firstDevice returns a device to show: the one made at the first start that
// succeeds, or else the first of the registry; nil when there is none.
func (e *env) firstDevice(ctx context.Context, c *client, fresh bool) (*identity, error) {
	var all []identity
	if err := c.rest(ctx, request{method: http.MethodGet, path: "/devices", query: url.Values{"top": {"1000"}}}, &all); err != nil {
		return nil, err
	}
	switch {
	case len(all) > 0:
		n := slices.IndexFunc(all, func(i identity) bool { return i.Device == firstName })
		return &all[max(n, 0)], nil
	case !fresh:
		return nil, nil
	}
	i, err := c.put(ctx, &identity{Device: firstName}, "")
	if err != nil {
		return nil, fmt.Errorf("the first device: %w", err)
	}
	return i, nil
}

// program returns how this program was called, so that its name can be copied:
// by its path, or by its bare name where that is how it is found.
func program() string {
	if name := os.Args[0]; filepath.Base(name) == "nave" && name != "nave" {
		return shellWord(name)
	}
	return "nave"
}
