package simapi

import (
	"encoding/json"
	"math"
	"net/http"

	"github.com/nave-hub/nave/internal/sim"
)

// listPlatforms is row 17.
func (c *call) listPlatforms() error { return few(c, c.access().Platforms) }

// showPlatform is row 17, one.
func (c *call) showPlatform() error { return oneCached(c, c.access().Platform) }

func (c *call) createPlatform() error {
	a, err := c.account()
	if err != nil {
		return err
	}
	p, err := c.access().CreatePlatform(c.r.Context(), *a)
	if err != nil {
		return err
	}
	return c.created(c.base()+"/platform/"+p.Account, p)
}

func (c *call) putPlatform() error {
	a, err := c.account()
	if err != nil {
		return err
	}
	p, err := c.access().PutPlatform(c.r.Context(), c.ids[0], *a)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, p)
}

func (c *call) deletePlatform() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	if err := c.access().DeletePlatform(c.r.Context(), c.ids[0]); err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}

func (c *call) checkPlatform() error {
	if err := c.closed(); err != nil {
		return err
	}
	class, err := c.access().CheckPlatform(c.r.Context(), c.ids[0])
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, map[string]sim.Class{"class": class})
}

func (c *call) synchronisePlatform() error {
	if err := c.closed(); err != nil {
		return err
	}
	m, err := c.access().Synchronise(c.r.Context(), c.ids[0], c.source())
	if err != nil {
		return err
	}
	m.WithBase(c.base())
	return c.tracked(m.Href, m)
}

// shape describes the members of an object of the account configuration by the
// kinds of their values: s string, n whole number, b Boolean, l list of
// strings, m map of strings, and o for an object with a shape of its own.
type shape map[string]struct {
	kind  byte
	below shape
}

var quirkShape = shape{"status": {'n', nil}, "bodyPattern": {'s', nil}, "class": {'s', nil}}

// accountShape is the configuration of connectivity-api 10.3.
var accountShape = shape{
	"account": {'s', nil}, "platform": {'s', nil}, "adapter": {'s', nil}, "accountId": {'s', nil}, "enabled": {'b', nil},
	"statusChangeMode": {'s', nil}, "settableStatus": {'l', nil},
	"embedded": {'o', shape{"enforce": {'b', nil}, "provisioningDelaySeconds": {'n', nil}, "asyncDelayMs": {'n', nil}}},
	"http": {'o', shape{"baseUrl": {'s', nil}, "tokenUrl": {'s', nil}, "clientId": {'s', nil}, "clientSecret": {'s', nil}, "timeoutMs": {'n', nil},
		"totalTimeoutMs": {'n', nil}, "requestsPerSecond": {'n', nil}, "maxParallel": {'n', nil}, "syncIntervalSeconds": {'n', nil},
		"errorMode": {'s', nil}, "statusMap": {'m', nil}, "quirks": {'a', quirkShape}, "authority": {'s', nil}, "capabilities": {'l', nil}}},
}

// fits reports every member that is unknown or of the wrong kind.
func (i *issues) fits(v *value, pointer string, s shape) {
	if v.kind != '{' {
		i.body(pointer, "invalid_type", "Must be an object.")
		return
	}
	for n := range v.members {
		m := &v.members[n]
		to, ok := s[m.name]
		where := at(pointer, m.name)
		if !ok {
			i.body(where, "unknown_member", "Unknown member.")
			continue
		}
		i.fit(&m.value, where, to.kind, to.below)
	}
}

func (i *issues) fit(v *value, pointer string, kind byte, below shape) {
	switch kind {
	case 's':
		i.asText(v, pointer)
	case 'n':
		one := value{kind: '{', members: []member{{"", *v}}}
		before := i.count
		if i.number(&one, pointer, "", 0, math.MaxInt32); i.count > before {
			i.move(before, pointer+"/", pointer)
		}
	case 'b':
		if v.kind != 't' && v.kind != 'f' {
			i.body(pointer, "invalid_type", "Must be true or false.")
		}
	case 'l', 'a':
		if !i.list(v, pointer) {
			return
		}
		for n := range v.items {
			if where := atItem(pointer, n); kind == 'l' {
				i.asText(&v.items[n], where)
			} else {
				i.fits(&v.items[n], where, below)
			}
		}
	case 'm':
		if v.kind != '{' {
			i.body(pointer, "invalid_type", "Must be an object.")
			return
		}
		for n := range v.members {
			i.asText(&v.members[n].value, at(pointer, v.members[n].name))
		}
	case 'o':
		i.fits(v, pointer, below)
	}
}

// account reads the configuration of a platform account; what its values mean
// is judged by the domain. An account is switched on unless it says otherwise.
func (c *call) account() (*sim.Account, error) {
	var i issues
	i.fits(&c.body, "", accountShape)
	if err := i.err(); err != nil {
		return nil, err
	}
	if err := c.noQuery(); err != nil {
		return nil, err
	}
	a := &sim.Account{Enabled: true}
	if err := json.Unmarshal(c.raw, a); err != nil {
		i.body("", "invalid_type", "A value has the wrong kind.")
		return nil, i.err()
	}
	return a, nil
}
