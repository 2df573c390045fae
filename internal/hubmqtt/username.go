package hubmqtt

import (
	"net/url"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// login is what a user name says: the hub that is meant, the identity that is
// claimed, and the model that the device announces.
type login struct {
	host  string
	id    nave.ID
	model string
}

// parseUsername reads a user name by device-protocols 1.6: host, device,
// perhaps a module, perhaps a query with or without "?", whose pairs are
// separated by "&" or, in the old form, by "/". Identities are taken literally.
func parseUsername(text string) (login, error) {
	host, rest, _ := strings.Cut(text, "/")
	device, rest, more := strings.Cut(rest, "/")
	l := login{host: host, id: nave.ID{Device: device}}
	switch {
	case text == "":
		return login{}, fault.IotHubUnauthorized.New("CONNECT has no user name, expected is {hub}/{device}/?api-version=2021-04-12")
	case host == "" || device == "":
		return login{}, fault.IotHubUnauthorized.New("the user name %q lacks the hub or the device, expected is {hub}/{device}/?api-version=2021-04-12", brief(text))
	}
	if segment, after, _ := strings.Cut(rest, "/"); more && !isQuery(segment) {
		l.id.Module, rest = segment, after
		if segment, _, _ := strings.Cut(rest, "/"); !isQuery(segment) {
			return login{}, fault.IotHubUnauthorized.New("the user name %q has the segment %q behind device and module, only a query with api-version may stand there", brief(text), brief(segment))
		}
	}
	if err := l.id.Check(); err != nil {
		return login{}, fault.IotHubUnauthorized.Wrap(err, "the user name names no possible identity: %s", fault.From(err).Text)
	}
	return l, l.readQuery(rest)
}

// isQuery says whether a segment of the user name begins the query.
func isQuery(segment string) bool {
	return segment == "" || segment[0] == '?' || strings.Contains(segment, "api-version=")
}

// readQuery takes the model id; api-version is not checked, DeviceClientType
// and auth-chain say nothing about an ordinary device, unknown keys are ignored.
func (l *login) readQuery(query string) error {
	query = strings.TrimPrefix(query, "?")
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == '/' }) {
		key, value, _ := strings.Cut(pair, "=")
		if key != "model-id" || value == "" || l.model != "" {
			continue
		}
		// Node sends the value as it is, so that a stray '%' must do no harm.
		if plain, err := url.PathUnescape(value); err == nil {
			value = plain
		}
		l.model = strings.Clone(value)
	}
	return nil
}

// brief shortens what a client sent for an error text.
func brief(text string) string {
	const most = 120
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
