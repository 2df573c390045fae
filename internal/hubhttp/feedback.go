package hubhttp

import (
	"net/http"
	"strings"

	"github.com/nave-hub/nave"
)

var feedbackRoutes = []route{
	{"GET", "/messages/serviceBound/feedback", receiveFeedback},
	{"DELETE", "/messages/serviceBound/feedback/{lock}", completeFeedback},
	{"POST", "/messages/serviceBound/feedback/{lock}/abandon", abandonFeedback},
}

// receiveFeedback answers one batch, whose lock is the etag, or 204 at once
// (service-api 2.15).
func receiveFeedback(c *call) error {
	batch, err := c.backend.TakeFeedback(c.r.Context())
	if err != nil {
		return err
	}
	if batch == nil {
		return c.done()
	}
	lock := lockText(batch.Lock)
	c.set("iothub-messagelocktoken", lock)
	return c.entity(http.StatusOK, lock, nave.AppendFeedback(nil, batch.Records))
}

func completeFeedback(c *call) error { return c.settleFeedback(true) }

func abandonFeedback(c *call) error { return c.settleFeedback(false) }

func (c *call) settleFeedback(done bool) error {
	if err := c.backend.SettleFeedback(c.r.Context(), lockOf(c.name), done); err != nil {
		return err
	}
	return c.done()
}

// lockText writes a lock of 32 hex digits as a GUID, which services expect.
func lockText(lock string) string {
	if len(lock) != 32 {
		return lock
	}
	return strings.Join([]string{lock[:8], lock[8:12], lock[12:16], lock[16:20], lock[20:]}, "-")
}

// lockOf reads a lock with or without quotes and dashes.
func lockOf(text string) string {
	return strings.ToLower(strings.ReplaceAll(bare(text), "-", ""))
}
