package dpsapi

import (
	"context"
	"strings"

	"github.com/nave-hub/nave/internal/dps"
)

// noun makes the routes of a resource T that is read and replaced as a whole
// and listed in pages; D is what its body is read into (dps 3.2, 6).
type noun[T, D any] struct {
	path, item  string // "/trustBundles" and the item type of its listing
	read, write dps.Right

	get    func(*dps.Access, context.Context, string) (*T, error)
	list   func(a *dps.Access, ctx context.Context, token string, limit int) ([]*T, string, error)
	parse  func([]byte) (*D, error)
	put    func(*dps.Access, context.Context, string, *D, dps.Match) (*T, error)
	remove func(a *dps.Access, ctx context.Context, id string, m dps.Match, force bool) error
	etag   func(*T) string
}

// routes returns the five routes of the noun, and more.
func (n noun[T, D]) routes(more ...route) []route {
	one := n.path + "/{id}"
	return append([]route{
		{"GET", n.path, n.read, n.showAll},
		{"GET", one, n.read, n.show},
		{"PUT", one, n.write, n.replace},
		{"DELETE", one, n.write, n.delete},
	}, more...)
}

func (n noun[T, D]) show(c *call) error {
	return tagged(c, n.etag)(n.get(c.access, c.r.Context(), c.args[0]))
}

func (n noun[T, D]) showAll(c *call) error {
	return paged(c, n.item, func(token string, limit int) ([]*T, string, error) {
		return n.list(c.access, c.r.Context(), token, limit)
	})
}

func (n noun[T, D]) replace(c *call) error {
	b, err := c.body()
	if err != nil {
		return err
	}
	d, err := n.parse(b)
	if err != nil {
		return err
	}
	return tagged(c, n.etag)(n.put(c.access, c.r.Context(), c.args[0], d, c.match()))
}

func (n noun[T, D]) delete(c *call) error {
	return c.gone(n.remove(c.access, c.r.Context(), c.args[0], c.match(), c.force()))
}

// unforced makes a removal that knows no force one that ignores it.
func unforced(f func(*dps.Access, context.Context, string, dps.Match) error) func(*dps.Access, context.Context, string, dps.Match, bool) error {
	return func(a *dps.Access, ctx context.Context, id string, m dps.Match, _ bool) error {
		return f(a, ctx, id, m)
	}
}

// tagged returns what answers 200 with a resource and its etag, or fails.
func tagged[T any](c *call, etag func(*T) string) func(*T, error) error {
	return func(v *T, err error) error {
		if err != nil {
			return err
		}
		return c.reply(v, etag(v))
	}
}

// paged answers a page of a listing (dps 3.6).
func paged[T any](c *call, item string, list func(token string, limit int) ([]*T, string, error)) error {
	token, size, err := c.page()
	if err != nil {
		return err
	}
	all, next, err := list(token, size)
	if err != nil {
		return err
	}
	return c.replyPage(all, item, size, next)
}

// force says whether the call has force=true.
func (c *call) force() bool { return strings.EqualFold(c.parameter("force"), "true") }
