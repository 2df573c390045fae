package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave"
)

// creation are the flags of device create.
type creation struct {
	proofFlags
	count   int
	edge    bool
	status  string
	reason  string
	parents []string
}

func deviceCreate(e *env) *cobra.Command {
	var n creation
	c := &cobra.Command{Use: "create DEVICE", Short: "Create a device, or many", Args: cobra.ExactArgs(1), Aliases: []string{"add"},
		Long: `Create makes a device and prints its connection string. With --count it makes
that many, named DEVICE-1 to DEVICE-N.`,
		Example: `  nave device create sensor1
  nave device create fleet --count 1000
  nave device create press --primary-thumbprint 9F86D081…
  nave device create gateway --edge`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("count") {
				return e.createMany(cmd.Context(), args[0], &n)
			}
			return e.create(cmd.Context(), args[0], &n)
		}}
	f := c.Flags()
	f.IntVar(&n.count, "count", 0, "how many")
	f.BoolVar(&n.edge, "edge", false, "an edge device, with its system modules")
	f.StringVar(&n.status, "status", nave.Enabled, "enabled or disabled")
	f.StringVar(&n.reason, "reason", "", "why it has this status, up to 128 characters")
	f.StringSliceVar(&n.parents, "parent-scope", nil, "device scope of the edge device above it")
	n.add(c)
	return c
}

func (n *creation) identity(id string) *identity {
	i := &identity{Device: id, Status: n.status, Auth: n.proof(), Parents: n.parents, Edge: &features{n.edge}}
	if n.reason != "" {
		i.Reason = &n.reason
	}
	if len(n.parents) > 0 && !n.edge {
		i.Scope = n.parents[0]
	}
	return i
}

func (e *env) create(ctx context.Context, text string, n *creation) error {
	id, err := readID(text, false)
	if err != nil {
		return err
	}
	return e.createOne(ctx, n.identity(id.Device))
}

// createOne makes a device or module and shows it.
func (e *env) createOne(ctx context.Context, wanted *identity) error {
	c, err := e.client(ctx)
	if err != nil {
		return err
	}
	i, err := c.put(ctx, wanted, "")
	if err != nil {
		return err
	}
	if e.json() {
		return e.printJSON(i)
	}
	e.say("Created %s. Its connection string:", i.id())
	e.print("%s", c.connectionString(i, false))
	return nil
}

// bulkSize is how many entries a bulk call may hold (service-api 2.5).
const bulkSize = 100

// bulkEntry is one entry of a bulk call (service-api 5.6).
type bulkEntry struct {
	ID     string    `json:"id"`
	Mode   string    `json:"importMode"`
	Status string    `json:"status,omitempty"`
	Reason *string   `json:"statusReason,omitempty"`
	Auth   *proof    `json:"authentication,omitempty"`
	Edge   *features `json:"capabilities,omitempty"`
	Scope  string    `json:"deviceScope,omitempty"`
	Above  []string  `json:"parentScopes,omitempty"`
}

type bulkError struct {
	Device string `json:"deviceId"`
	Code   int    `json:"errorCode"`
	Status string `json:"errorStatus"`
}

// createMany makes devices in bulk calls and tells which failed.
func (e *env) createMany(ctx context.Context, prefix string, n *creation) error {
	switch {
	case n.count < 1:
		return misuse("", "--count is %d, it must be above zero", n.count)
	case n.key != "" || n.key2 != "" || n.print != "" || n.print2 != "":
		return misuse("Leave them away, so that each device gets its own.", "keys and thumbprints can't be shared by many devices")
	}
	if _, err := readID(fmt.Sprintf("%s-%d", prefix, n.count), false); err != nil {
		return err
	}
	c, err := e.client(ctx)
	if err != nil {
		return err
	}
	failed := []bulkError{}
	bar := e.progress("Creating devices")
	for done := 0; done < n.count; done += bulkSize {
		size := min(bulkSize, n.count-done)
		errs, err := c.createSome(context.WithoutCancel(ctx), prefix, done+1, size, n) // a call that is cut off may have made some
		if err != nil {
			bar.end()
			e.say("%d devices were created before that.", done-len(failed))
			return err
		}
		if ctx.Err() != nil {
			bar.end()
			e.say("%d devices were created before that.", done+size-len(failed)-len(errs))
			return ctx.Err()
		}
		failed = append(failed, errs...)
		bar.step(done+size, n.count)
	}
	bar.end()
	return e.showMany(prefix, n.count, failed)
}

func (c *client) createSome(ctx context.Context, prefix string, first, count int, n *creation) ([]bulkError, error) {
	var list []bulkEntry
	for i := range count {
		d := n.identity(fmt.Sprintf("%s-%d", prefix, first+i))
		list = append(list, bulkEntry{d.Device, "create", d.Status, d.Reason, d.Auth, d.Edge, d.Scope, d.Parents})
	}
	return c.bulk(ctx, list)
}

// bulk sends a bulk call. Entries that fail are an answer, not an error,
// although the hub says 400 then.
func (c *client) bulk(ctx context.Context, list any) ([]bulkError, error) {
	var answer struct{ Errors []bulkError }
	err := c.rest(ctx, request{method: http.MethodPost, path: "/devices", body: list}, &answer)
	return answer.Errors, err
}

func (e *env) showMany(prefix string, count int, failed []bulkError) error {
	if e.json() {
		if err := e.printJSON(map[string]any{"created": count - len(failed), "failed": failed}); err != nil {
			return err
		}
	} else {
		e.print("Created %d devices, %s-1 to %s-%d.", count-len(failed), prefix, prefix, count)
	}
	if len(failed) == 0 {
		return nil
	}
	first := failed[0]
	f := &failure{text: fmt.Sprintf("%d devices were not created; the first is %s: %s", len(failed), first.Device, first.Status), code: codeOf(first.Code, "")}
	if f.code != nil {
		f.fix = f.code.Fix
	}
	return f
}
