package dpsapi

import (
	"strconv"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// Headers of listings. Their names are in lower case on the wire: one SDK looks
// them up so (dps 3.6).
const (
	headerContinuation = "x-ms-continuation"
	headerPageSize     = "x-ms-max-item-count"
	headerItemType     = "x-ms-item-type"
)

// page returns what the request asks for: the token of the page, "" for the
// first, and its size; ArgumentInvalid.
func (c *call) page() (token string, size int, err error) {
	text := c.header(headerPageSize)
	if text != "" {
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return "", 0, fault.DPSArgumentInvalid.New("x-ms-max-item-count is %q, it must be a number from 0 on", brief(text))
		}
		size = int(min(n, dps.MaxPage))
	}
	if size == 0 {
		size = dps.DefaultPage
	}
	return c.header(headerContinuation), size, nil
}

// replyPage answers a page of items of the type.
func (c *call) replyPage(items any, itemType string, size int, next string) error {
	h := c.w.Header()
	h[headerItemType] = []string{itemType}
	h[headerPageSize] = []string{strconv.Itoa(size)}
	if next != "" {
		h[headerContinuation] = []string{next}
	}
	return c.reply(items, "")
}
