package console_test

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
)

// styleHash checks that the page's policy admits the style sheet in it.
func styleHash(t *testing.T, page, policy string) {
	t.Helper()
	_, rest, _ := strings.Cut(page, "<style>")
	style, _, ok := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	if !ok || !strings.Contains(policy, base64.StdEncoding.EncodeToString(sum[:])) {
		t.Errorf("the policy %q does not admit the style sheet", policy)
	}
}
