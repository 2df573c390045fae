package sim

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Most characters of texts that come from a platform.
const (
	maxWord   = 64
	maxDetail = 512
	maxBody   = 2048
)

var (
	// Tokens of any kind: signed ones, and whatever follows Bearer or Basic.
	tokenForm = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]+){1,4}|(?i)\b(bearer|basic)[ +]+[A-Za-z0-9._~+/=-]{8,}`)
	// Values of members and parameters that hold secrets.
	secretForm = regexp.MustCompile(`(?i)("?(?:client_?secret|access_?token|refresh_?token|id_?token|password|api_?key)"?\s*[:=]\s*"?)[^"&\s,}]+`)
	// Addresses of private networks.
	insideForm = regexp.MustCompile(`\b(?:127|10)(?:\.\d{1,3}){3}(?::\d+)?\b|\b(?:192\.168|169\.254|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2}(?::\d+)?\b`)
)

// blanked stands in place of a secret or an address.
const blanked = "[blanked]"

// blank returns a text of the platform without the account's secrets, what
// looks like tokens, and addresses (ER-6, ER-7), cut to a number of characters.
func (r *remote) blank(text string, most int) string {
	cut := len(text) >= errorBody
	text = strings.ToValidUTF8(text[:min(len(text), errorBody)], "\uFFFD")
	longest := 0
	for _, s := range r.spellings() {
		text = strings.ReplaceAll(text, s, blanked)
		longest = max(longest, len(s))
	}
	if cut {
		// The end may be the beginning of a secret.
		text = strings.ToValidUTF8(text[:max(0, len(text)-longest)], "")
	}
	text = tokenForm.ReplaceAllString(text, blanked)
	text = secretForm.ReplaceAllString(text, "${1}"+blanked)
	text = insideForm.ReplaceAllString(text, blanked)
	for _, address := range []string{r.base, r.c.TokenURL} {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			text = strings.ReplaceAll(text, u.Host, blanked)
		}
	}
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most])
	}
	return text
}

// spellings returns every form in which a secret of the account may appear,
// the longest first.
func (r *remote) spellings() []string {
	all := r.secrets()
	all = append(all, base64.StdEncoding.EncodeToString([]byte(r.c.ClientID+":"+r.c.ClientSecret)),
		base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(r.c.ClientID)+":"+url.QueryEscape(r.c.ClientSecret))))
	for _, s := range all {
		quoted, _ := json.Marshal(s) // a string
		all = append(all, url.QueryEscape(s), url.PathEscape(s), string(quoted[1:len(quoted)-1]), strings.ReplaceAll(s, "/", `\/`))
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.DeleteFunc(slices.Compact(all), func(s string) bool { return s == "" })
}
