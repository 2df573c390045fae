package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave"
)

// monitorFlags are the flags of monitor.
type monitorFlags struct {
	device, from string
	partition    string
	count        int
}

func monitorCommand(e *env) *cobra.Command {
	var m monitorFlags
	c := &cobra.Command{Use: "monitor", Aliases: []string{"events"}, Short: "Follow the events as they arrive", Args: cobra.NoArgs,
		Long: `Monitor prints the events of the hub as they arrive, until Ctrl-C: telemetry, and
what else the hub is told to put into its event log (hub.events.sources).`,
		Example: `  nave monitor
  nave monitor --device sensor1 --from 10m
  nave monitor --from beginning --output json --count 100`,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.monitor(cmd.Context(), &m) }}
	f := c.Flags()
	f.StringVarP(&m.device, "device", "d", "", "only of this DEVICE or DEVICE/MODULE")
	f.StringVar(&m.from, "from", "now", "where to start: now, beginning, a time, or a duration ago such as 10m")
	f.StringVar(&m.partition, "partition", "", "only of this partition")
	f.IntVarP(&m.count, "count", "n", 0, "stop after so many events (0: never)")
	c.RegisterFlagCompletionFunc("device", e.completeDevice)
	c.RegisterFlagCompletionFunc("from", cobra.FixedCompletions([]string{"now", "beginning", "10m", "1h"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// start translates --from for the console.
func (m *monitorFlags) start() (string, error) {
	switch strings.ToLower(m.from) {
	case "now", "latest", "":
		return "latest", nil
	case "beginning", "earliest":
		return "earliest", nil
	}
	if d, err := time.ParseDuration(strings.TrimPrefix(m.from, "-")); err == nil {
		return "-" + d.String(), nil
	}
	at, err := nave.ParseTime(m.from)
	if err != nil {
		return "", misuse("", "--from is %q, allowed are now, beginning, a time such as 2006-01-02T15:04:05Z and a duration such as 10m", m.from)
	}
	return nave.Format(at), nil
}

func (m *monitorFlags) query() (url.Values, error) {
	if m.count < 0 {
		return nil, misuse("Leave it away to go on until Ctrl-C.", "--count is %d, it cannot be negative", m.count)
	}
	from, err := m.start()
	if err != nil {
		return nil, err
	}
	q := url.Values{"from": {from}}
	if m.partition != "" {
		q.Set("partition", m.partition)
	}
	if m.device != "" {
		id, err := anyID(m.device)
		if err != nil {
			return nil, err
		}
		q.Set("device", id.Device)
		if id.IsModule() {
			q.Set("module", id.Module)
		}
	}
	return q, nil
}

func (e *env) monitor(ctx context.Context, m *monitorFlags) error {
	q, err := m.query()
	if err != nil {
		return err
	}
	c, err := e.operator(ctx)
	if err != nil {
		return err
	}
	r, err := c.newRequest(ctx, http.MethodGet, c.base+"/api/hubs/"+url.PathEscape(c.host)+"/events?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	answer, err := c.send(r)
	if err != nil {
		return orderly(err)
	}
	defer answer.Body.Close()
	e.say("Following the events of %s. Ctrl-C ends.", c.host)
	return e.follow(ctx, answer.Body, m.count)
}

// orderly takes away the error of a Ctrl-C, which is an orderly end.
func orderly(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// follow prints events until there have been count, or the stream ends.
func (e *env) follow(ctx context.Context, from io.Reader, count int) error {
	lines := bufio.NewReader(from)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return trouble("Look whether the node still runs, then start again with --from and the time of the last event.", "the stream of events ended: %w", err)
		}
		if err := e.event(line); err != nil {
			return err
		}
		if n == count {
			return nil
		}
	}
}

// event is a line of the console's stream.
type event struct {
	Partition  int
	Sequence   int64  `json:"sequenceNumber"`
	Enqueued   string `json:"enqueuedTime"`
	Source     string
	Device     string `json:"deviceId"`
	Module     string `json:"moduleId"`
	Properties map[string]*string
	Body       json.RawMessage
	Encoding   string `json:"bodyEncoding"`
}

func (e *env) event(line []byte) error {
	if e.json() {
		_, err := e.out.Write(line)
		return err
	}
	var v event
	if err := json.Unmarshal(line, &v); err != nil {
		return trouble("Use the same version of nave as the node.", "an event can't be read: %w", err)
	}
	text := string(bytes.TrimSpace(v.Body))
	var plain string
	if json.Unmarshal(v.Body, &plain) == nil {
		text = plain
	}
	if v.Encoding != "" {
		text = v.Encoding + ":" + text
	}
	kind := ""
	if v.Source != string(nave.Telemetry) {
		kind = "  " + paint(e.colorOut, yellow, v.Source)
	}
	properties := propertiesText(v.Properties)
	if properties != "" {
		properties = "  " + paint(e.colorOut, dim, oneLine(properties))
	}
	id := nave.ID{Device: v.Device, Module: v.Module}
	_, err := fmt.Fprintf(e.out, "%s  %s%s  %s%s\n", paint(e.colorOut, dim, clock(v.Enqueued)), paint(e.colorOut, bold, oneLine(id.String())), kind, oneLine(text), properties)
	return err
}

// clock shows the time of an event in the reader's own zone, to milliseconds.
func clock(text string) string {
	at, err := nave.ParseTime(text)
	if err != nil {
		return oneLine(text)
	}
	return at.Local().Format("2006-01-02 15:04:05.000")
}

func propertiesText(all map[string]*string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if v := all[name]; v != nil {
			parts = append(parts, name+"="+*v)
		} else {
			parts = append(parts, name)
		}
	}
	return strings.Join(parts, " ")
}
