package nave

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/nave-hub/nave/internal/fault"
)

// reader takes typed members out of an object and keeps the first error, which
// names the member by its path.
type reader struct {
	d    Doc
	path string // with a dot at the end, empty at the root
	err  error
}

func (r *reader) wrong(name, want string, v any) {
	if r.err == nil {
		r.err = fault.ArgumentInvalid.New("%s%s is %s, expected is %s", r.path, name, kind(v), want)
	}
}

func (r *reader) text(name string) *string {
	switch v := r.d[name].(type) {
	case nil:
		return nil
	case string:
		return &v
	default:
		r.wrong(name, "a string", v)
		return nil
	}
}

func (r *reader) textOr(name, absent string) string {
	if s := r.text(name); s != nil {
		return *s
	}
	return absent
}

// id takes a number as its text (service-api 2.1).
func (r *reader) id(name string) string {
	if n, ok := r.d[name].(json.Number); ok {
		return n.String()
	}
	return r.textOr(name, "")
}

func (r *reader) flag(name string) *bool {
	switch v := r.d[name].(type) {
	case nil:
		return nil
	case bool:
		return &v
	default:
		r.wrong(name, "a boolean", v)
		return nil
	}
}

func (r *reader) texts(name string) *[]string {
	list, ok := r.d[name].([]any)
	if !ok {
		if v := r.d[name]; v != nil {
			r.wrong(name, "an array of strings", v)
		}
		return nil
	}
	out := make([]string, 0, len(list))
	for i, v := range list {
		s, ok := v.(string)
		if !ok {
			r.wrong(name+"["+strconv.Itoa(i)+"]", "a string", v)
			return nil
		}
		out = append(out, s)
	}
	return &out
}

// below returns a reader of the object name; an absent one has no members.
func (r *reader) below(name string) *reader {
	b := &reader{path: r.path + name + "."}
	switch v := r.d[name].(type) {
	case nil:
	case Doc:
		b.d = v
	default:
		r.wrong(name, "an object", v)
	}
	return b
}

func (r *reader) join(b *reader) {
	if r.err == nil {
		r.err = b.err
	}
}

func (r *reader) auth(name string) *Auth {
	if r.d[name] == nil {
		return nil
	}
	at := r.below(name)
	keys, prints := at.below("symmetricKey"), at.below("x509Thumbprint")
	a := &Auth{
		Type:    authType(at.textOr("type", "")),
		Primary: keys.textOr("primaryKey", ""), Secondary: keys.textOr("secondaryKey", ""),
		PrimaryThumbprint: prints.textOr("primaryThumbprint", ""), SecondThumbprint: prints.textOr("secondaryThumbprint", ""),
	}
	a.Type = a.kind()
	at.join(keys)
	at.join(prints)
	r.join(at)
	return a
}

// authType returns the spelling of the constants; unknown text stays for Check
// to refuse.
func authType(text string) AuthType {
	for _, t := range []AuthType{AuthSAS, AuthSelfSigned, AuthCA, AuthNone} {
		if strings.EqualFold(text, string(t)) {
			return t
		}
	}
	return AuthType(text)
}
