package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func twinCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "twin", Short: "Read and write twins of devices and modules",
		Example: "  nave twin show sensor1\n  nave twin update sensor1 --desired '{\"interval\":10}'", RunE: group}
	c.AddCommand(twinShow(e), twinUpdate(e))
	return c
}

func twinShow(e *env) *cobra.Command {
	return &cobra.Command{Use: "show DEVICE[/MODULE]", Short: "Show a twin, as JSON", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeDevice,
		Example: "  nave twin show sensor1\n  nave twin show gateway/opc",
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.twin(cmd, args[0], request{method: http.MethodGet})
		}}
}

// twin makes a request to a twin and prints the twin that comes back.
func (e *env) twin(cmd *cobra.Command, text string, q request) error {
	id, err := anyID(text)
	if err != nil {
		return err
	}
	c, err := e.client(cmd.Context())
	if err != nil {
		return err
	}
	q.path = idPath("/twins", id.Device, id.Module)
	var raw json.RawMessage
	if err := c.rest(cmd.Context(), q, &raw); err != nil {
		return err
	}
	return e.printRaw(raw)
}

func twinUpdate(e *env) *cobra.Command {
	desired, tags, etag, replace := "", "", "", false
	c := &cobra.Command{Use: "update DEVICE[/MODULE]", Short: "Merge into tags and desired properties, or replace them",
		Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeDevice,
		Long: `Update merges JSON into the tags and the desired properties of a twin; null removes
a member. With --replace what is given takes the place of what was there.
The JSON is an argument, @FILE, or - for the standard input.`,
		Example: `  nave twin update sensor1 --desired '{"interval":10}' --tags '{"site":"north"}'
  nave twin update sensor1 --desired '{"interval":null}'
  nave twin update sensor1 --tags @tags.json --replace`,
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := e.twinBody(desired, tags)
			if err != nil {
				return err
			}
			q := request{method: http.MethodPatch, match: etag, body: body}
			if replace {
				q.method = http.MethodPut
			}
			return e.twin(cmd, args[0], q)
		}}
	f := c.Flags()
	f.StringVar(&desired, "desired", "", "desired properties, a JSON object")
	f.StringVar(&tags, "tags", "", "tags, a JSON object")
	f.StringVar(&etag, "etag", "", "write only if the twin still has this etag")
	f.BoolVar(&replace, "replace", false, "replace in place of merge")
	c.MarkFlagsOneRequired("desired", "tags")
	return c
}

func (e *env) twinBody(desired, tags string) (map[string]any, error) {
	body := map[string]any{}
	if tags != "" {
		v, err := e.object("--tags", tags)
		if err != nil {
			return nil, err
		}
		body["tags"] = v
	}
	if desired != "" {
		v, err := e.object("--desired", desired)
		if err != nil {
			return nil, err
		}
		body["properties"] = map[string]any{"desired": v}
	}
	return body, nil
}

// maxInput is the greatest argument read from a file or the standard input.
const maxInput = 4 << 20

// text reads an argument: itself, @FILE, or - for the standard input.
func (e *env) text(flag, arg string) ([]byte, error) {
	var from io.Reader
	name, isFile := strings.CutPrefix(arg, "@")
	switch {
	case arg == "-":
		from = e.in
	case isFile:
		f, err := os.Open(name)
		if err != nil {
			return nil, misuse("Check the file name.", "%s can't be read: %v", flag, err)
		}
		defer f.Close()
		from = f
	default:
		return []byte(arg), nil
	}
	b, err := io.ReadAll(io.LimitReader(from, maxInput+1))
	switch {
	case err != nil:
		return nil, misuse("", "%s can't be read: %v", flag, err)
	case len(b) > maxInput:
		return nil, misuse("", "%s has more than %d bytes", flag, maxInput)
	}
	return b, nil
}

// value reads an argument that must be JSON.
func (e *env) value(flag, arg string) (json.RawMessage, error) {
	b, err := e.text(flag, arg)
	if err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, misuse("Quote it for the shell: '{\"interval\":10}'; text needs its own quotes: '\"on\"'.", "%s is no JSON: %v", flag, err)
	}
	return b, nil
}

func (e *env) object(flag, arg string) (json.RawMessage, error) {
	b, err := e.value(flag, arg)
	if err == nil && !strings.HasPrefix(strings.TrimSpace(string(b)), "{") {
		return nil, misuse("", "%s must be a JSON object", flag)
	}
	return b, err
}
