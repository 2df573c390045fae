package control

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// Credential is an MQTT CONNECT tuple that was just issued (iot-v1 11.3). Its
// password is shown once. Client id and user name are the device id.
type Credential struct {
	Device   string
	Password string
	Life     time.Duration
	Renew    time.Duration
}

// liveCredentials is how many a device has at once (iot-v1 MQ-6).
const liveCredentials = 2

// Credential issues an MQTT credential to the holder of an access token: its
// hash and scopes. Answers: 5003 when there is no broker or the store is away,
// and what the gate says.
func (d *Device) Credential(ctx context.Context, token []byte, scopes []string) (*Credential, error) {
	c := d.c
	if err := d.enter(ctx, &opCredential, 0); err != nil {
		return nil, err
	}
	if c.Broker() == "" {
		return nil, refuse(fault.ControlServiceUnavailable, BrokerUnavailable, "the hub runs no MQTT broker now").RetryAfter(time.Minute)
	}
	var b [32]byte
	rand.Read(b[:]) // never fails since Go 1.24
	out := &Credential{Device: d.ID, Password: base64.RawURLEncoding.EncodeToString(b[:]), Life: c.o.MQTTLife, Renew: (c.o.MQTTLife * 8 / 10).Truncate(time.Second)}
	now := c.Now()
	err := c.db.Update(ctx, func(tx *store.Tx) error {
		// Takes the device's lock, so that two calls cannot pass the limit.
		if _, err := tx.Control(d.ID); err != nil {
			return err
		}
		all, err := tx.ControlCredentials(d.ID)
		if err != nil {
			return err
		}
		issued := now
		for n, old := range all {
			if !issued.After(old.Issued) { // which is the oldest must be known within one tick of the clock, too
				issued = old.Issued.Add(stored)
			}
			if !now.Before(old.Expires) || len(all)-n >= liveCredentials {
				if err := tx.DeleteControlCredential(old.Hash); err != nil {
					return err
				}
				c.changed(tx, d.ID)
			}
		}
		return tx.InsertControlCredential(&store.ControlCredential{Hash: hash(out.Password), Device: d.ID, Token: token,
			Scopes: strings.Join(scopes, " "), Issued: issued, Expires: now.Add(out.Life)})
	})
	if errors.Is(err, store.ErrNone) {
		return nil, NoResource("device", "there is no such device")
	}
	return out, c.away(err)
}

func hash(text string) []byte {
	h := sha256.Sum256([]byte(text))
	return h[:]
}

// EndCredentials ends the MQTT credentials that were issued with the access
// token of this hash, and their connections (iot-v1 AU-18).
func (c *Control) EndCredentials(tx *store.Tx, device string, token []byte) error {
	n, err := tx.EndControlCredentials(device, token)
	if n > 0 {
		c.changed(tx, device)
	}
	return err
}

// Session is an MQTT connection of a device, from Login to Close. Its methods
// may be called from any goroutine.
type Session struct {
	// Set by Login, then read only:
	Expires time.Time // when the credential ends; ended is called then
	c       *Control
	device  string
	hash    []byte
	scopes  []string
	desired func(nave.DesiredState)
	ended   func(*fault.Error)

	// Guarded by Control.mu:
	ready bool      // Login has ended
	until time.Time // of the subscription
}

// Login proves an MQTT CONNECT tuple and begins a session (iot-v1 MQ-4). 4001:
// the tuple is wrong, or has expired; 4002 and 4003 as Admit; 5003.
//
// desired hears of each new desired state of the device, in order, from before
// Login returns until Close; what was pending before is for Pending to tell, so
// call Login first. ended
// hears once why the session must end: credential expired or revoked, device
// disabled, subscription over, transport disabled, hub stopping. Both must not
// block.
func (c *Control) Login(ctx context.Context, clientID, username, password string, desired func(nave.DesiredState), ended func(*fault.Error)) (*Session, error) {
	if c.stopping() {
		return nil, c.shutting()
	}
	wrong := refuse(fault.ControlUnauthorized, "invalid_token", "client id, user name and password are no credential of this hub")
	if clientID != username || !nave.IsControlID("cdv", clientID) {
		return nil, wrong
	}
	s := &Session{c: c, device: clientID, hash: hash(password), desired: desired, ended: ended}
	// Before the look at the store, so that no end falls in between.
	c.mu.Lock()
	if c.sessions[s.device] == nil {
		c.sessions[s.device] = map[*Session]bool{}
	}
	c.sessions[s.device][s] = true
	epoch := c.epoch
	c.mu.Unlock()
	k, err := s.check(ctx)
	if err != nil {
		s.Close()
		return nil, err
	}
	c.mu.Lock()
	s.scopes, s.Expires, s.ready = strings.Fields(k.Scopes), k.Expires, true
	again := c.epoch != epoch
	c.mu.Unlock()
	if again {
		if _, err = s.check(ctx); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

// check answers why the session may not be, nil when it may.
func (s *Session) check(ctx context.Context) (found *store.ControlCredential, err error) {
	var all []*store.ControlCredential
	err = s.c.db.View(ctx, func(tx *store.Tx) (err error) { all, err = tx.ControlCredentials(s.device); return err })
	if err != nil {
		return nil, s.c.away(err)
	}
	now := s.c.Now()
	for _, k := range all {
		if subtle.ConstantTimeCompare(k.Hash, s.hash) == 1 && now.Before(k.Expires) {
			found = k
		}
	}
	if found == nil {
		return nil, refuse(fault.ControlUnauthorized, "invalid_token", "the MQTT credential is unknown, has expired or was revoked")
	}
	d, err := s.c.Find(ctx, s.device)
	if err != nil {
		return nil, err
	}
	s.c.mu.Lock()
	s.until = d.Until
	s.c.mu.Unlock()
	return found, d.Admit(MQTT)
}

// Device returns the device as it is now.
func (s *Session) Device(ctx context.Context) (*Device, error) { return s.c.Find(ctx, s.device) }

// Has says whether the credential has the scope (iot-v1 MQ-13).
func (s *Session) Has(scope string) bool { return slices.Contains(s.scopes, scope) }

// Close ends the session; ended is not called any more.
func (s *Session) Close() { s.leave() }

// leave takes the session off the list and says whether it was on it.
func (s *Session) leave() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	all := s.c.sessions[s.device]
	was := all[s]
	delete(all, s)
	if len(all) == 0 {
		delete(s.c.sessions, s.device)
	}
	return was
}

func (c *Control) sessionsOf(device string) (all []*Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.sessions[device] {
		if s.ready {
			all = append(all, s)
		}
	}
	return all
}

// judge ends the device's sessions that may not go on.
func (c *Control) judge(device string) {
	for _, s := range c.sessionsOf(device) {
		_, err := s.check(c.ctx)
		e := fault.From(err)
		// A store that is away says nothing about the session.
		if err != nil && e.Code != fault.ControlServiceUnavailable && s.leave() {
			s.ended(e)
		}
	}
}

// judgeAll ends sessions whose time has come: credential or subscription.
func (c *Control) judgeAll() {
	now := c.Now()
	c.mu.Lock()
	var due []string
	for device, all := range c.sessions {
		for s := range all {
			if s.ready && (!now.Before(s.Expires) || !s.until.IsZero() && !now.Before(s.until)) {
				due = append(due, device)
				break
			}
		}
	}
	c.mu.Unlock()
	for _, device := range due {
		c.judge(device)
	}
}

// endAll ends all sessions because the hub stops.
func (c *Control) endAll() {
	c.mu.Lock()
	var all []*Session
	for _, sessions := range c.sessions {
		for s := range sessions {
			all = append(all, s)
		}
	}
	c.mu.Unlock()
	for _, s := range all {
		if s.leave() {
			s.ended(fault.From(c.shutting()))
		}
	}
}
