package simapi

import (
	"net/http"
	"unicode/utf8"
)

// showLink is row 15, GET.
func (c *call) showLink() error { return one(c, c.access().Link) }

// putLink is row 15, PUT (LK-2).
func (c *call) putLink() error {
	var i issues
	device, replace := "", false
	if i.object(&c.body, "", "deviceId", "replace") {
		var ok bool
		if device, ok = i.text(&c.body, "", "deviceId", true); ok && device == "" {
			i.body("/deviceId", "invalid_value", "Must not be empty.")
		} else if utf8.RuneCountInString(device) > 128 {
			i.body("/deviceId", "too_long", "At most 128 characters are allowed.")
		}
		replace = i.flag(&c.body, "", "replace")
	}
	if err := i.err(); err != nil {
		return err
	}
	if err := c.noQuery(); err != nil {
		return err
	}
	if err := c.bundle(); err != nil {
		return err
	}
	l, created, err := c.access().PutLink(c.r.Context(), c.ids[0], device, replace, c.source())
	if err != nil {
		return err
	}
	c.warnAbout(l.Warnings)
	if created {
		return c.created(c.base()+"/product/"+c.ids[0]+"/device", l)
	}
	return c.reply(http.StatusOK, l)
}

// deleteLink is row 15, DELETE.
func (c *call) deleteLink() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	if err := c.bundle(); err != nil {
		return err
	}
	if err := c.access().DeleteLink(c.r.Context(), c.ids[0], c.source()); err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}
