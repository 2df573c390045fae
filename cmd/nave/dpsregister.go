package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/load"
)

// dpsReach says where devices dial the provisioning service, when not where the
// console says.
type dpsReach struct {
	scope, host, address, over string
	insecure                   bool
}

// registerFlags are the flags of dps register.
type registerFlags struct {
	reach                                    dpsReach
	key, groupKey, group, cert, certKey, pay string
}

func dpsRegister(e *env) *cobra.Command {
	var r registerFlags
	c := &cobra.Command{Use: "register REGISTRATION-ID", Short: "Register as a device does, and print where it belongs", Args: cobra.ExactArgs(1),
		Long: `Register plays the device: it proves itself, waits until the service has assigned a
hub, and prints the hub and the connection string for it. Without a key or certificate
it asks the service for the key of the enrolment of that id, or with --group for the
group's.

It finds the service by the console or by --login. --scope and --endpoint name any
other, and then nothing but the device's own proof is needed.`,
		Example: `  nave dps register sensor1
  nave dps register pump-17 --group fleet --over mqtt
  nave dps register sensor2 --cert sensor2.pem --cert-key sensor2.key
  nave dps register sensor3 --scope 0ne00000001 --endpoint dps.example.com --key 'Zm9v…=='`,
		ValidArgsFunction: e.completeEnrolment(individual),
		RunE:              func(cmd *cobra.Command, args []string) error { return e.register(cmd.Context(), args[0], &r) }}
	f := c.Flags()
	f.StringVar(&r.key, "key", "", "the device's symmetric key in base64")
	f.StringVar(&r.groupKey, "group-key", "", "key of its group, from which the device's is derived")
	f.StringVar(&r.group, "group", "", "its group, whose key the service is asked for")
	f.StringVar(&r.cert, "cert", "", "PEM file with the device's certificate, and those above it")
	f.StringVar(&r.certKey, "cert-key", "", "PEM file with the key of the certificate (the file of --cert)")
	f.StringVar(&r.pay, "payload", "", "JSON for the webhook that chooses the hub, @FILE or -")
	f.StringVar(&r.reach.scope, "scope", "", "id scope (that of the service)")
	f.StringVar(&r.reach.host, "endpoint", "", "host name of the provisioning service")
	f.StringVar(&r.reach.address, "address", "", "host:port to dial for it (port 443 or 8883 of the endpoint)")
	f.StringVar(&r.reach.over, "over", load.OverHTTPS, "protocol: https or mqtt")
	f.BoolVar(&r.reach.insecure, "insecure", false, "trust any server certificate; for tests only")
	c.MarkFlagsMutuallyExclusive("key", "group-key", "group", "cert")
	c.RegisterFlagCompletionFunc("group", e.completeEnrolment(groups))
	c.RegisterFlagCompletionFunc("over", cobra.FixedCompletions([]string{load.OverHTTPS, load.OverMQTT}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// firstQuestion is how long people wait before they ask for their registration;
// devices wait as long as the service says.
const firstQuestion = 300 * time.Millisecond

func (e *env) register(ctx context.Context, id string, r *registerFlags) error {
	d := load.Enrolled{ID: id}
	var err error
	if r.pay != "" {
		if d.Payload, err = e.value("--payload", r.pay); err != nil {
			return err
		}
	}
	if d.Key, err = e.deviceKey(ctx, id, r); err != nil {
		return err
	}
	o, err := e.provisionOptions(ctx, &r.reach)
	if err != nil {
		return err
	}
	if r.cert != "" {
		pair, err := tls.LoadX509KeyPair(r.cert, cmp.Or(r.certKey, r.cert))
		if err != nil {
			return misuse("--cert and --cert-key name PEM files.", "the certificate can't be used: %v", err)
		}
		o.Target.TLS.Certificates = []tls.Certificate{pair}
	}
	p, err := load.NewProvisioner(*o)
	if err != nil {
		return misuse("", "--over: %v", err)
	}
	defer p.Close()
	bar := e.progress("Registering")
	bar.note("%s at %s", id, o.Target.TLS.ServerName)
	a, err := p.Register(ctx, d, load.Pace{First: firstQuestion})
	bar.end()
	if err != nil {
		return provisionFailure(err)
	}
	return e.showAssignment(a, d.Key)
}

// deviceKey returns the device's symmetric key, "" with a certificate.
func (e *env) deviceKey(ctx context.Context, id string, r *registerFlags) (string, error) {
	k, name := individual, id
	switch {
	case r.cert != "":
		return "", nil
	case r.key != "":
		return r.key, cred.CheckKey(r.key)
	case r.groupKey != "":
		return derive(r.groupKey, id)
	case r.group != "":
		k, name = groups, r.group
	}
	c, err := e.dps(ctx)
	if err != nil {
		return "", err
	}
	key, err := c.key(ctx, k, name)
	if isMissing(err) && r.group == "" {
		return "", trouble("Create it with 'nave dps enrollment create "+id+"', or say how the device proves itself: --group NAME, --key, --group-key or --cert.",
			"the service has no enrolment for %q", id)
	}
	if err != nil || r.group == "" {
		return key, err
	}
	return derive(key, id)
}

func derive(master, id string) (string, error) {
	key, err := cred.Derive(master, id)
	if err != nil {
		return "", misuse("'nave dps group keys NAME' prints it.", "the group's key is unusable: %v", err)
	}
	return key, nil
}

// showAssignment prints what the device was told; anything but assigned is a
// failure.
func (e *env) showAssignment(a *load.Assignment, key string) error {
	connection := ""
	if a.Status == "assigned" {
		connection = (&cred.ConnectionString{HostName: a.Hub, DeviceID: a.Device, Key: key, X509: key == ""}).String()
	}
	if e.json() {
		var doc map[string]any
		if err := json.Unmarshal(a.Raw, &doc); err != nil {
			return err
		}
		if connection != "" {
			doc["connectionString"] = connection
		}
		if err := e.printJSON(doc); err != nil {
			return err
		}
	} else if connection != "" {
		var t registrationText
		json.Unmarshal(a.Raw, &t)
		e.facts("Hub", a.Hub, "Device id", a.Device, "Substatus", a.Substatus, "Payload", compact(t.Payload), "Connection string", connection)
	}
	switch {
	case a.Status == "assigned":
		return nil
	case a.Status == "disabled":
		return trouble("'nave dps enrollment update NAME --enable', or 'nave dps group update', lets it in again; 'nave dps resource show device-record NAME' tells whether the device itself is blocked.",
			"the enrolment is disabled, or the device is blocked")
	}
	f := &failure{text: "the registration ended " + a.Status + ": " + a.Message, code: fault.Lookup(a.Code, fault.DPS)}
	if f.code != nil {
		f.fix = f.code.Fix
	}
	return f
}

// provisionOptions finds the device API of the service that the flags name.
func (e *env) provisionOptions(ctx context.Context, r *dpsReach) (*load.ProvisionOptions, error) {
	o := &load.ProvisionOptions{Scope: r.scope, Over: strings.ToLower(r.over)}
	port := map[string]string{load.OverHTTPS: "443", load.OverMQTT: "8883"}[o.Over]
	if port == "" {
		return nil, misuse("", "the protocol is %q, https and mqtt are possible", r.over)
	}
	host, address := r.host, r.address
	if r.scope == "" || r.host == "" {
		c, err := e.dps(ctx)
		if err != nil {
			return nil, err
		}
		a, err := c.about(ctx)
		if err != nil {
			return nil, err
		}
		host, o.Scope = cmp.Or(r.host, a.Endpoint), cmp.Or(r.scope, a.Scope)
		if c.login == nil && address == "" && r.host == "" {
			if address, err = c.devicePort(ctx, o.Over, host); err != nil {
				return nil, err
			}
		}
		e.ca = cmp.Or(e.ca, a.CAFile)
	}
	roots, err := e.roots()
	if err != nil {
		return nil, err
	}
	o.Target = load.Target{Address: cmp.Or(address, net.JoinHostPort(host, port)),
		TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: host, InsecureSkipVerify: r.insecure}}
	return o, nil
}

// devicePort returns where the node listens for devices of the service. A host
// that is an address has to be dialled itself: TLS says no such name.
func (c *dpsClient) devicePort(ctx context.Context, over, host string) (string, error) {
	var s statusAnswer
	if err := c.ask(ctx, "GET", "/api/status", nil, &s); err != nil {
		return "", err
	}
	u, err := url.Parse(c.base)
	if err != nil {
		return "", err
	}
	listening := s.Addresses[over]
	at := dialable(listening, u.Hostname())
	name, port, err := net.SplitHostPort(listening)
	if err != nil {
		return "", trouble("Start the node with listen."+over+" set.", "the node does not listen for %s", over)
	}
	if ip := net.ParseIP(name); net.ParseIP(host) != nil && (name == "" || ip != nil && ip.IsUnspecified()) {
		at = net.JoinHostPort(host, port)
	}
	return at, nil
}

// provisionFailure gives refusals by a provisioning service their remedy.
func provisionFailure(err error) error {
	var refused *load.ProvisionError
	if !errors.As(err, &refused) {
		return loadFailure(err)
	}
	f := &failure{text: refused.Message, code: fault.Lookup(refused.Code, fault.DPS), tracking: refused.Tracking, cause: err}
	if f.code == nil {
		f.text = fmt.Sprintf("the provisioning service answered %s: %s", strconv.Itoa(refused.Status), refused.Message)
		return f
	}
	f.fix = f.code.Fix
	return f
}
