package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave"
)

func c2dCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "c2d", Short: "Send cloud-to-device messages and read what became of them",
		Example: "  nave c2d send sensor1 \"hello\" --ack full\n  nave c2d feedback", RunE: group}
	c.AddCommand(c2dSend(e), c2dPurge(e), c2dFeedback(e))
	return c
}

// c2dFlags are the flags of c2d send.
type c2dFlags struct {
	properties                            []string
	ack, id, correlation, kind, enc, user string
	expires                               time.Duration
}

func c2dSend(e *env) *cobra.Command {
	var m c2dFlags
	c := &cobra.Command{Use: "send DEVICE[/MODULE] BODY", Short: "Put a message into the queue of a device or module", Args: cobra.ExactArgs(2),
		Long: "Send puts a message into a queue; the device gets it when it is there. BODY is text,\n@FILE, or - for the standard input.",
		Example: `  nave c2d send sensor1 "hello"
  nave c2d send sensor1 '{"led":"on"}' --content-type application/json --property priority=high
  nave c2d send sensor1 @firmware.bin --ack full --expires 10m`,
		ValidArgsFunction: e.completeDevice,
		RunE:              func(cmd *cobra.Command, args []string) error { return e.sendC2D(cmd, args[0], args[1], &m) }}
	f := c.Flags()
	f.StringArrayVarP(&m.properties, "property", "p", nil, "application property NAME=VALUE, may be repeated")
	f.StringVar(&m.ack, "ack", "none", "feedback wanted: none, positive, negative or full")
	f.DurationVar(&m.expires, "expires", 0, "how long it may wait, up to 48h (1h)")
	f.StringVar(&m.id, "message-id", "", "message id (made at random)")
	f.StringVar(&m.correlation, "correlation-id", "", "correlation id")
	f.StringVar(&m.user, "user-id", "", "who sends it")
	f.StringVar(&m.kind, "content-type", "", "content type of the body")
	f.StringVar(&m.enc, "content-encoding", "", "content encoding of the body")
	c.RegisterFlagCompletionFunc("ack", cobra.FixedCompletions([]string{"none", "positive", "negative", "full"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (m *c2dFlags) message(id nave.ID, body []byte) (map[string]any, error) {
	properties := map[string]string{}
	for _, p := range m.properties {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, misuse("Write --property NAME=VALUE.", "the property %q has no name or no value", p)
		}
		properties[name] = value
	}
	system := map[string]string{"messageId": m.id, "correlationId": m.correlation, "userId": m.user, "contentType": m.kind, "contentEncoding": m.enc, "ack": m.ack}
	if m.expires != 0 {
		system["expiryTimeUtc"] = nave.Format(time.Now().Add(m.expires))
	}
	out := map[string]any{"deviceId": id.Device, "moduleId": id.Module, "properties": properties, "system": system, "body": string(body)}
	if !utf8.Valid(body) {
		out["body"], out["bodyEncoding"] = base64.StdEncoding.EncodeToString(body), "base64"
	}
	return out, nil
}

func (e *env) sendC2D(cmd *cobra.Command, to, arg string, m *c2dFlags) error {
	id, err := anyID(to)
	if err != nil {
		return err
	}
	body, err := e.text("BODY", arg)
	if err != nil {
		return err
	}
	message, err := m.message(id, body)
	if err != nil {
		return err
	}
	c, err := e.operator(cmd.Context())
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := c.askHub(cmd.Context(), http.MethodPost, "/c2d", message, &raw); err != nil {
		return err
	}
	if e.json() {
		return e.printRaw(raw)
	}
	var sent struct {
		MessageID string
		Sequence  int64  `json:"sequenceNumber"`
		Expires   string `json:"expiryTimeUtc"`
	}
	if err := json.Unmarshal(raw, &sent); err != nil {
		return err
	}
	e.facts("Message", sent.MessageID, "Sequence number", strconv.FormatInt(sent.Sequence, 10), "Expires", when(sent.Expires))
	return nil
}

func c2dPurge(e *env) *cobra.Command {
	return &cobra.Command{Use: "purge DEVICE", Short: "Drop the messages that wait for a device", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeDevice,
		Example: "  nave c2d purge sensor1",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := readID(args[0], false)
			if err != nil {
				return err
			}
			c, err := e.client(cmd.Context())
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := c.rest(cmd.Context(), request{method: http.MethodDelete, path: idPath("/devices", id.Device, "") + "/commands"}, &raw); err != nil {
				return err
			}
			if e.json() {
				return e.printRaw(raw)
			}
			var answer struct {
				Total int `json:"totalMessagesPurged"`
			}
			if err := json.Unmarshal(raw, &answer); err != nil {
				return err
			}
			e.print("Dropped %d messages of %s.", answer.Total, id)
			return nil
		}}
}

func c2dFeedback(e *env) *cobra.Command {
	follow := false
	c := &cobra.Command{Use: "feedback", Short: "Take the feedback of messages that asked for it", Args: cobra.NoArgs,
		Long:    "Feedback prints what became of messages sent with --ack, and takes the records out of\nthe hub: no other reader gets them.",
		Example: "  nave c2d feedback\n  nave c2d feedback --follow --output json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.operator(cmd.Context())
			if err != nil {
				return err
			}
			return e.feedback(cmd, c, follow)
		}}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more until Ctrl-C")
	return c
}

// feedbackRecord is one record as the console shows it.
type feedbackRecord struct {
	MessageID   string `json:"originalMessageId"`
	Device      string `json:"deviceId"`
	Module      string `json:"moduleId,omitempty"`
	Generation  string `json:"deviceGenerationId"`
	Status      string `json:"statusCode"`
	Description string `json:"description"`
	Time        string `json:"enqueuedTimeUtc"`
}

func (e *env) feedback(cmd *cobra.Command, c *client, follow bool) error {
	all := []feedbackRecord{}
	for {
		path := "/feedback"
		if follow {
			path += "?wait=30s"
		}
		var batch []feedbackRecord
		if err := c.askHub(cmd.Context(), http.MethodGet, path, nil, &batch); err != nil {
			return err
		}
		switch {
		case follow:
			if err := e.feedbackLines(batch); err != nil {
				return err
			}
		case len(batch) == 0:
			return e.feedbackTable(all)
		default:
			all = append(all, batch...)
		}
	}
}

func (e *env) feedbackLines(batch []feedbackRecord) error {
	for _, f := range batch {
		if e.json() {
			b, err := json.Marshal(f)
			if err != nil {
				return err
			}
			e.print("%s", b)
			continue
		}
		e.print("%s  %s  %s  %s", when(f.Time), oneLine(nave.ID{Device: f.Device, Module: f.Module}.String()), f.Status, oneLine(f.MessageID))
	}
	return nil
}

func (e *env) feedbackTable(all []feedbackRecord) error {
	switch {
	case e.json():
		return e.printJSON(all)
	case len(all) == 0:
		e.say("No feedback waits. Messages sent with --ack full make some.")
		return nil
	}
	t := newTable("TIME", "DEVICE", "OUTCOME", "MESSAGE")
	for _, f := range all {
		t.add(when(f.Time), nave.ID{Device: f.Device, Module: f.Module}.String(), f.Status, f.MessageID)
	}
	return e.table(t)
}
