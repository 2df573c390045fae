package carrier

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Profile is a way to misbehave: a Kind by its name, with a value where the
// kind has one, and the requests it concerns.
type Profile struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
	Scope string `json:"scope,omitempty"`
}

// String returns the profile as ParseProfile reads it.
func (p Profile) String() string {
	text := p.Name
	if p.Value != "" {
		text += "=" + p.Value
	}
	if p.Scope != "" {
		text += "@" + p.Scope
	}
	return text
}

// Kind describes a profile: what it does, and what the hub makes of it.
type Kind struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"` // meaning of the value; "" for none
	Usual string `json:"usual,omitempty"` // the value when none is given
	Scope string `json:"scope"`           // the requests when none are given
	Does  string `json:"does"`
	Hub   string `json:"hub"`

	check func(string) bool
}

// Scopes are the requests that a profile can be limited to, joined by "+":
// pageN is page N of the list.
const Scopes = "all, token, list, pageN, product, change, monitor"

// Kinds are all profiles. The numbers of codes are those of the hub's answers.
var Kinds = []Kind{
	{"healthy", "", "", "all", "Answers as it should; ends what was chosen before.", "200", nil},
	{"slow", "time", "1s", "all", "Answers right, but late.", "200, or 500 platform_timeout beyond timeoutMs", isTime},
	{"timeout", "", "", "product+change", "Never answers.", "500 platform_timeout, class timeout; after 5 in a row 500 platform_unavailable for 30 s", nil},
	{"lost-answer", "", "", "change", "Does what was asked and never answers.", "500 platform_timeout; the hub reads the product again after 5, 30 and 120 s", nil},
	{"async", "time", "2s", "change", "Answers changes with 202 and a monitor.", "202 with a monitor of the hub, Completed afterwards", isTime},
	{"async-fail", "status", "409", "change", "As async, but the monitor ends with an error.", "202, then a monitor InError with 400 platform_request_rejected", isStatus},
	{"error500", "text", "Invalid ICCID", "product+change", "Answers 500 although only the request is wrong.", "500 platform_error, class request_rejected; 400 platform_request_rejected with errorMode normalise", nil},
	{"outage", "", "", "all", "Answers 500 to everything but token requests.", "500 platform_error, class outage", nil},
	{"expired-credentials", "status", "500", "all", "500: answers 500, and its token endpoint 401. 401: accepts no token.", "500 platform_credentials_invalid, class credentials", isStatus},
	{"stale-token", "", "", "all", "Accepts none of the tokens issued so far, but new ones.", "200 after one new token", nil},
	{"rate-limit", "seconds or none", "7", "product+change", "Answers 429 with Retry-After, or without.", "429 platform_rate_limited with that Retry-After, or 1; tasks and synchronisation wait", isSecondsOrNone},
	{"flaky", "count", "2", "product+list", "Answers 503 so many times, then once as it should.", "200 for up to 2, the hub reads again; 500 platform_unavailable beyond, and for changes", isCount},
	{"unavailable", "", "", "product+change", "Answers 503.", "500 platform_unavailable, class outage", nil},
	{"empty-200", "", "", "product+change", "Answers 200 without a body.", "500 platform_malformed_response", nil},
	{"html-200", "", "", "product+change", "Answers 200 with a web page.", "500 platform_malformed_response", nil},
	{"wrong-id", "", "", "product+change", "Answers with another product.", "500 platform_malformed_response", nil},
	{"forbidden", "", "", "product+change", "Answers 403.", "403 platform_forbidden", nil},
	{"gone", "", "", "product+change", "Answers 404.", "404 product_not_found, and the product leaves lists", nil},
	{"conflict", "", "", "change", "Answers 409.", "400 platform_request_rejected", nil},
	{"unsupported", "", "", "change", "Answers 501.", "400 capability_missing", nil},
	{"redirect", "", "", "product+change", "Answers 302 to another address.", "500 platform_error; the hub does not follow", nil},
	{"huge", "", "", "product", "Answers 200 with more than anybody wants to read.", "500 platform_malformed_response", nil},
	{"hang-up", "", "", "product+change", "Closes the connection without an answer.", "500 platform_unavailable for reads, 500 platform_timeout for changes", nil},
	{"leak", "", "", "product+change", "Answers 500 with the caller's token in the body.", "500 platform_error; the token is blanked", nil},
	{"status", "word", "HIBERNATED", "product+list", "Shows a status of its own for every SIM.", "200 with status INACTIVE, and one event connectivity.status.unmapped a day", isWord},
}

// kindOf returns the kind of the name, or nil.
func kindOf(name string) *Kind {
	if n := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == name }); n >= 0 {
		return &Kinds[n]
	}
	return nil
}

// ParseProfile reads NAME, NAME=VALUE, NAME@SCOPE or NAME=VALUE@SCOPE and fills
// what it leaves out.
func ParseProfile(text string) (Profile, error) {
	text, scope, scoped := strings.Cut(text, "@")
	name, value, valued := strings.Cut(text, "=")
	k := kindOf(name)
	switch {
	case k == nil:
		return Profile{}, fmt.Errorf("there is no profile %q", name)
	case valued && k.Value == "":
		return Profile{}, fmt.Errorf("profile %s takes no value", name)
	case !valued:
		value = k.Usual
	case k.check != nil && !k.check(value):
		return Profile{}, fmt.Errorf("the value of profile %s is a %s, not %q", name, k.Value, value)
	}
	if !scoped {
		scope = k.Scope
	}
	for one := range strings.SplitSeq(scope, "+") {
		page, isPage := strings.CutPrefix(one, "page")
		if isPage && isCount(page) {
			continue
		}
		if !slices.Contains([]string{"all", "token", "list", "product", "change", "monitor"}, one) {
			return Profile{}, fmt.Errorf("the requests of profile %s can be %s, not %q", name, Scopes, one)
		}
	}
	return Profile{name, value, scope}, nil
}

// ParseProfiles reads several; healthy ends those before it.
func ParseProfiles(texts []string) ([]Profile, error) {
	all := []Profile{}
	for _, text := range texts {
		p, err := ParseProfile(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		if p.Name == "healthy" {
			all = all[:0]
			continue
		}
		all = append(all, p)
	}
	return all, nil
}

// concerns says whether the profile is about a request of that kind.
func (p Profile) concerns(kind string, page int) bool {
	for one := range strings.SplitSeq(p.Scope, "+") {
		if one == kind || one == "all" && (kind != "token" || p.Name == "slow") || kind == "list" && one == "page"+strconv.Itoa(page) {
			return true
		}
	}
	return false
}

func (p Profile) duration() time.Duration { d, _ := time.ParseDuration(p.Value); return d }

func (p Profile) number() int { n, _ := strconv.Atoi(p.Value); return n }

func isTime(s string) bool { d, err := time.ParseDuration(s); return err == nil && d >= 0 }

func isCount(s string) bool { n, err := strconv.Atoi(s); return err == nil && n > 0 }

func isStatus(s string) bool { n, err := strconv.Atoi(s); return err == nil && n >= 400 && n <= 599 }

func isSecondsOrNone(s string) bool {
	n, err := strconv.Atoi(s)
	return s == "none" || err == nil && n >= 0
}

func isWord(s string) bool { return s != "" && len(s) <= 64 }
