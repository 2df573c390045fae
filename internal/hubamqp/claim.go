package hubamqp

import (
	"net/url"
	"strings"
	"time"
	"weak"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// maxClaims is how many audiences a connection may hold claims for; one more is
// 403005 (device-protocols 5.3).
const maxClaims = 1000

// claim is a proof that the connection has been given: a token that was put, or
// what SASL PLAIN brought. It is judged anew for whatever it is used for.
type claim struct {
	cred   cred.Claim
	on     nave.ID         // the one identity whose own token it is
	who    *nave.Principal // as judged when it came
	path   []string        // the segments of its audience
	reader bool            // only good for reading events: the key's text made the signature
	key    bool            // SASL PLAIN with a policy's key: who counts, there is no token
	socket bool            // SASL PLAIN: its end is the end of the connection
	order  int             // the later, the greater
}

// service says whether the claim is one of a service or reader.
func (m *claim) service() bool {
	return m.on == nave.ID{} && m.who != nil && m.who.Rights.Has(nave.ServiceConnect)
}

// until returns when the claim ends, the grace included; the zero time: never.
func (m *claim) until(skew time.Duration) time.Time {
	if m.who == nil || m.who.Until.IsZero() {
		return time.Time{}
	}
	return m.who.Until.Add(skew)
}

// expired says whether the claim and its grace have ended.
func (c *conn) expired(m *claim) bool {
	at := m.until(c.hub.Limits().Skew)
	return !at.IsZero() && c.hub.Now().After(at)
}

// take keeps a claim in place of an earlier one for the same audience, and
// renews what stands on it.
func (c *conn) take(key string, m *claim) error {
	c.mu.Lock()
	if c.claims == nil {
		c.claims = map[string]*claim{}
	}
	if c.claims[key] == nil && len(c.claims) >= maxClaims {
		for k, old := range c.claims {
			if c.expired(old) {
				delete(c.claims, k)
			}
		}
		if n := len(c.claims); n >= maxClaims {
			c.mu.Unlock()
			return fault.IotHubMaxCbsTokenExceeded.Over("AMQP tokens of a connection", maxClaims, n+1, "the connection holds too many tokens")
		}
	}
	c.order++
	m.order = c.order
	c.claims[key] = m
	var renewed []*seat
	for id, s := range c.seats {
		if m.on == id || s.proof == key {
			s.proof = key
			renewed = append(renewed, s)
		}
	}
	c.mu.Unlock()
	for _, s := range renewed {
		s.renew(m.who.Until)
	}
	return nil
}

// forget drops the claims that which accepts (delete-token).
func (c *conn) forget(which func(*claim) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, m := range c.claims {
		if which(m) {
			delete(c.claims, key)
		}
	}
}

// newest returns the claims that want accepts, the latest first.
func (c *conn) newest(want func(*claim) bool) (all []*claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.claims {
		if want(m) {
			all = append(all, m)
		}
	}
	sortClaims(all)
	return all
}

func sortClaims(all []*claim) {
	for i := 1; i < len(all); i++ {
		for n := i; n > 0 && all[n].order > all[n-1].order; n-- {
			all[n], all[n-1] = all[n-1], all[n]
		}
	}
}

// backend returns the hub's handle for a service caller whom a policy's token,
// a bearer token or SASL PLAIN has proven. path are the segments of the entity,
// for the check of the audience. IotHubUnauthorizedAccess: nothing proves it.
func (c *conn) backend(path ...string) (*hub.Backend, error) {
	return c.proven(false, path)
}

// readerBackend is backend for readers of events, whose tokens may be signed
// with the text of the key (service-api 1.3).
func (c *conn) readerBackend(path ...string) (*hub.Backend, error) {
	return c.proven(true, path)
}

func (c *conn) proven(reader bool, path []string) (*hub.Backend, error) {
	var first error = fault.IotHubUnauthorizedAccess.New("Unauthorized: no token has been put for this connection")
	for n, m := range c.newest(func(m *claim) bool { return m.on == nave.ID{} && (reader || !m.reader) }) {
		who, err := c.admit(m, reader, path)
		if err == nil && !who.Rights.Has(nave.ServiceConnect) {
			err = fault.IotHubUnauthorizedAccess.New("Unauthorized: the policy %s lacks the right ServiceConnect", who.Name)
		}
		if err == nil {
			return c.hub.Backend(who), nil
		}
		if n == 0 {
			first = err
		}
	}
	return nil, first
}

func (c *conn) admit(m *claim, reader bool, path []string) (*nave.Principal, error) {
	switch {
	case m.key:
		return m.who, nil
	case reader:
		return c.hub.AdmitReader(c.ctx, m.cred, path...)
	}
	return c.hub.Admit(c.ctx, m.cred, path...)
}

// prove returns who a device identity's link acts as, and the key of the claim
// that shows it, "" for a certificate. Own tokens come first, then policies,
// then the certificate (device-protocols 1.4: a token decides over a stray
// certificate).
func (c *conn) prove(on nave.ID) (who *nave.Principal, key string, err error) {
	own := ownKey(on)
	c.mu.Lock()
	m := c.claims[own]
	c.mu.Unlock()
	if m != nil {
		who, err = c.hub.Authenticate(c.ctx, m.cred, on)
		if err == nil {
			return who, own, nil
		}
	}
	for _, m := range c.newest(func(m *claim) bool {
		return m.on == nave.ID{} && m.who.Rights.Has(nave.DeviceConnect) && !m.key && !m.reader
	}) {
		var failed error
		if who, failed = c.hub.Authenticate(c.ctx, m.cred, on); failed == nil {
			return who, m.name(), nil
		}
		if err == nil {
			err = failed
		}
	}
	if len(c.certs) > 0 && err == nil {
		who, err = c.hub.Authenticate(c.ctx, cred.Claim{Certs: c.certs}, on)
		return who, "", err
	}
	if err == nil {
		err = fault.IotHubUnauthorized.New("no token for %s has been put on this connection", on)
	}
	return nil, "", err
}

// Keys of claims: one for each audience, and for policies one for each policy
// and audience.
func ownKey(on nave.ID) string { return "own:" + on.String() }

func (m *claim) name() string {
	switch {
	case m.on != nave.ID{}:
		return ownKey(m.on)
	case m.cred.Bearer != "":
		return "bearer"
	}
	return "policy:" + strings.ToLower(m.who.Name) + ":" + strings.ToLower(strings.Join(m.path, "/"))
}

// judge decides what a token text proves and returns it as a claim; the checks
// follow the token's own audience (device-protocols 1.2, 3.3).
func (c *conn) judge(text string) (*claim, error) {
	if bearer, ok := bearerToken(text); ok {
		m := &claim{cred: cred.Claim{Bearer: bearer}}
		var err error
		m.who, err = c.hub.Admit(c.ctx, m.cred)
		return m, err
	}
	m := &claim{cred: cred.Claim{SAS: text}}
	t, err := cred.ParseSAS(text)
	if err != nil {
		return nil, fault.IotHubUnauthorized.Wrap(err, "the SAS token is malformed: %v", err)
	}
	path, ok := c.audience(t)
	m.path = path
	device := len(path) > 0 && strings.EqualFold(path[0], "devices")
	switch {
	case !ok:
		return nil, fault.IotHubUnauthorized.New("the token is not for the hub %s", c.hub.Host())
	case device && len(path) > 1 || t.Policy == "":
		return m, c.judgeDevice(m, t)
	case device:
		m.who, err = c.hub.Admit(c.ctx, m.cred, path...)
		return m, needRight(m.who, nave.DeviceConnect, err)
	}
	m.who, err = c.hub.Admit(c.ctx, m.cred, path...)
	if err != nil {
		if who, again := c.hub.AdmitReader(c.ctx, m.cred, path...); again == nil {
			m.who, m.reader, err = who, true, nil
		}
	}
	return m, needRight(m.who, nave.ServiceConnect|nave.DeviceConnect, err)
}

// needRight refuses who has none of the rights.
func needRight(who *nave.Principal, any nave.Right, err error) error {
	if err == nil && who.Rights&any == 0 {
		err = fault.IotHubUnauthorizedAccess.New("Unauthorized: the policy %s has none of the rights that AMQP needs", who.Name)
	}
	return err
}

// judgeDevice proves the identity that the audience names; its segments may
// still be encoded, so each reading is tried.
func (c *conn) judgeDevice(m *claim, t *cred.SAS) (err error) {
	err = fault.IotHubUnauthorized.New("the token's audience names no device")
	for n, on := range identities(m.path) {
		who, failed := c.hub.Authenticate(c.ctx, m.cred, on)
		if failed == nil {
			m.who = who
			if t.Policy == "" {
				m.on = on
			}
			return nil
		}
		if n == 0 || unregistered(err) && !unregistered(failed) {
			err = failed
		}
	}
	return err
}

// unregistered says whether the hub does not know the identity.
func unregistered(err error) bool { return fault.From(err).Code.HTTP == 404 }

// identities returns what devices/{d}[/modules/{m}] may name: as written,
// percent-decoded, form-decoded.
func identities(path []string) (all []nave.ID) {
	if len(path) != 2 && !(len(path) == 4 && strings.EqualFold(path[2], "modules")) {
		return nil
	}
	for _, decode := range []func(string) (string, error){func(s string) (string, error) { return s, nil }, url.PathUnescape, url.QueryUnescape} {
		id := nave.ID{}
		var err, err2 error
		id.Device, err = decode(path[1])
		if len(path) == 4 {
			id.Module, err2 = decode(path[3])
		}
		if err != nil || err2 != nil || id.Device == "" || len(path) == 4 && id.Module == "" || len(all) > 0 && all[len(all)-1] == id {
			continue
		}
		all = append(all, id)
	}
	return all
}

// audience returns the path of the token's audience on this hub.
func (c *conn) audience(t *cred.SAS) (path []string, ok bool) {
	for _, r := range t.Readings() {
		if _, rest, found := strings.Cut(r, "://"); found {
			r = rest
		}
		host, rest, deeper := strings.Cut(strings.TrimSuffix(r, "/"), "/")
		if host == "" || !c.hub.Answers(host) {
			continue
		}
		if !deeper {
			return nil, true
		}
		return strings.Split(rest, "/"), true
	}
	return nil, false
}

// bearerToken cuts the token out of "Bearer …" or recognises a bare JWT.
func bearerToken(text string) (string, bool) {
	if len(text) > 7 && strings.EqualFold(text[:7], "Bearer ") {
		return strings.TrimSpace(text[7:]), true
	}
	return text, strings.Count(text, ".") == 2 && !strings.ContainsAny(text, " =&")
}

// watch ends the link with amqp:unauthorized-access once the service's claims
// have run out, with their grace, and were not renewed (service-api 1.7).
func (c *conn) watch(l *amqp.Link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watched == nil {
		c.watched = map[weak.Pointer[amqp.Link]]struct{}{}
	}
	c.watched[weak.Make(l)] = struct{}{}
	c.watchOn()
}

// watchEvery is the pause between looks at the claims.
const watchEvery = time.Second

// watchOn has the watched links looked at again. The caller holds mu.
func (c *conn) watchOn() {
	if !c.ticking && len(c.watched) > 0 {
		c.ticking = true
		time.AfterFunc(watchEvery, c.check)
	}
}

// check ends the watched links when no claim of a service holds any more. Links
// that have ended leave the map when the engine has let go of them.
func (c *conn) check() {
	c.mu.Lock()
	c.ticking = false
	alive, socket := false, false
	for _, m := range c.claims {
		socket = socket || m.socket
		alive = alive || m.service() && !c.expired(m)
	}
	var links []*amqp.Link
	for p := range c.watched {
		l := p.Value()
		if l == nil || !alive {
			delete(c.watched, p)
		}
		if l != nil && !alive {
			links = append(links, l)
		}
	}
	c.watchOn()
	c.mu.Unlock()
	if len(links) == 0 {
		return
	}
	why := c.condition("service.authorize", nave.ID{}, fault.IotHubUnauthorizedAccess.New("Unauthorized: the token has expired and was not renewed"))
	if socket {
		c.engine.Close(why)
		return
	}
	for _, l := range links {
		l.Detach(why)
	}
}
