package main

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completeTimeout is how long a shell waits for names from the hub.
const completeTimeout = 2 * time.Second

// forShell runs ask with a client for completion; without a hub there is
// nothing to offer.
func (e *env) forShell(cmd *cobra.Command, start string, ask func(context.Context, *client) []string) ([]string, cobra.ShellCompDirective) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, e.shell)
	defer cancel()
	if e.settle(cmd) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := e.client(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := slices.DeleteFunc(ask(ctx, c), func(n string) bool { return !strings.HasPrefix(n, start) })
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (e *env) completeDevice(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return e.completeDevices(cmd, args, start)
}

// completeDevices offers device ids that are not named yet.
func (e *env) completeDevices(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	return e.forShell(cmd, start, func(ctx context.Context, c *client) (names []string) {
		var all []identity
		if c.rest(ctx, request{method: http.MethodGet, path: "/devices", query: url.Values{"top": {"1000"}}}, &all) != nil {
			return nil
		}
		for n := range all {
			if !slices.Contains(args, all[n].Device) {
				names = append(names, all[n].Device)
			}
		}
		return names
	})
}

// completeModule offers DEVICE/ first, then the modules of that device.
func (e *env) completeModule(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	device, _, named := strings.Cut(start, "/")
	if !named {
		names, _ := e.completeDevice(cmd, args, start)
		for n := range names {
			names[n] += "/"
		}
		return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	return e.forShell(cmd, start, func(ctx context.Context, c *client) (names []string) {
		var all []identity
		if c.rest(ctx, request{method: http.MethodGet, path: idPath("/devices", device, "") + "/modules"}, &all) != nil {
			return nil
		}
		for n := range all {
			names = append(names, all[n].id())
		}
		return names
	})
}

func (e *env) completePolicy(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return e.forShell(cmd, start, func(ctx context.Context, c *client) (names []string) {
		_, all, err := e.policies(ctx)
		if err != nil {
			return nil
		}
		for _, p := range all {
			names = append(names, p.Name)
		}
		return names
	})
}
