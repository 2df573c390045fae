package simapi

import (
	"context"
	"net/http"

	"github.com/nave-hub/nave/internal/sim"
)

// pages answers a list about the product of the path, page by page.
func pages[T any](c *call, read func(ctx context.Context, id string, p sim.Paging) ([]T, int, error)) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	page := q.paging()
	if err := q.done(); err != nil {
		return err
	}
	if err := c.bundle(); err != nil {
		return err
	}
	all, total, err := read(c.r.Context(), c.ids[0], page)
	if err != nil {
		return err
	}
	return c.show(list(c, page, total, all))
}

// one answers a thing about the product of the path.
func one[T any](c *call, read func(ctx context.Context, id string) (T, error)) error {
	if err := c.noQuery(); err != nil {
		return err
	}
	if err := c.bundle(); err != nil {
		return err
	}
	v, err := read(c.r.Context(), c.ids[0])
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, v)
}

// few answers a list that is read as a whole and cut into pages here.
func few[T any](c *call, read func(ctx context.Context) ([]T, error)) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	p := q.paging()
	if err := q.done(); err != nil {
		return err
	}
	all, err := read(c.r.Context())
	if err != nil {
		return err
	}
	from := min((p.Number-1)*p.Size, len(all))
	return c.show(list(c, p, len(all), all[from:min(from+p.Size, len(all))]))
}

// oneCached answers the thing of the path, with an ETag (HT-13).
func oneCached[T any](c *call, read func(ctx context.Context, id string) (T, error)) error {
	if err := c.noQuery(); err != nil {
		return err
	}
	v, err := read(c.r.Context(), c.ids[0])
	if err != nil {
		return err
	}
	b := encode(v)
	return c.cacheable(b, b)
}
