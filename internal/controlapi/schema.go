package controlapi

import (
	"embed"
	"net/http"
	"strconv"
	"strings"

	"github.com/nave-hub/nave/internal/control"
)

//go:embed schema/*.schema.json
var schemas embed.FS

// showSchema is E13.
func (c *call) showSchema() error {
	name := c.args[0]
	text, err := schemas.ReadFile("schema/" + name)
	if err != nil || strings.ContainsAny(name, "/\\") {
		return control.NoResource("schema", "there is no such schema")
	}
	h := c.w.Header()
	h["Content-Type"] = []string{"application/schema+json"}
	h["Content-Length"] = []string{strconv.Itoa(len(text))}
	h["Cache-Control"] = []string{"public, max-age=86400"}
	c.w.WriteHeader(http.StatusOK)
	c.w.Write(text)
	return nil
}
