package hubamqp

import (
	"errors"
	"strings"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
)

var errSASL = errors.New("hubamqp: the client is not who it says")

// sasl decides about a mechanism (device-protocols 3.2, service-api 3.2): the
// two anonymous ones prove nothing and pass, EXTERNAL leans on the certificate,
// PLAIN brings the only proof of the connection.
func (c *conn) sasl(mechanism string, response []byte) error {
	switch mechanism {
	case amqp.External:
		if len(c.certs) == 0 {
			c.record("connection.sasl", nave.ID{}, fault.IotHubUnauthorized.New("SASL EXTERNAL without a client certificate"))
			return errSASL
		}
	case amqp.Plain:
		if err := c.plain(response); err != nil {
			c.record("connection.sasl", nave.ID{}, err)
			return errSASL
		}
	}
	return nil
}

// plain judges {d}[/modules/{m}]@sas.{hubName} and {policy}@sas.root.{hubName}
// with a token for password, and a policy's name with its key.
func (c *conn) plain(response []byte) error {
	_, user, password, ok := amqp.ParsePlain(response)
	if !ok {
		return fault.IotHubUnauthorized.New("the response to SASL PLAIN has not three parts")
	}
	at := strings.LastIndex(user, "@sas.")
	if at < 0 {
		return c.plainKey(user, password)
	}
	name, hubName := user[:at], user[at+len("@sas."):]
	root := len(hubName) > 5 && strings.EqualFold(hubName[:5], "root.")
	if root {
		hubName = hubName[5:]
	}
	if !strings.EqualFold(hubName, c.hub.Name()) && !c.hub.Answers(hubName) {
		return fault.IotHubNotFound.New("the user name is for the hub %q, this one is %s", brief(hubName), c.hub.Name())
	}
	m, err := c.judge(password)
	if err != nil {
		return err
	}
	if root {
		if m.on != (nave.ID{}) || !strings.EqualFold(m.who.Name, name) {
			return fault.IotHubUnauthorizedAccess.New("Unauthorized: the token is not one of the policy %q", brief(name))
		}
	} else if err := c.plainDevice(m, name); err != nil {
		return err
	}
	m.socket = true
	return c.take(m.name(), m)
}

// plainDevice wants the token to prove the device or module of the user name.
func (c *conn) plainDevice(m *claim, name string) error {
	device, module, isModule := strings.Cut(name, "/")
	if isModule {
		if len(module) > 8 && strings.EqualFold(module[:8], "modules/") {
			module = module[8:]
		}
	}
	on := nave.ID{Device: device, Module: module}
	if m.on == on {
		return nil
	}
	_, err := c.hub.Authenticate(c.ctx, m.cred, on)
	return err
}

// keyProof is how long the token lives that checks a policy's key.
const keyProof = time.Minute

// plainKey checks a policy's key by what would be signed with it, so that the
// hub's rules for policies count here too.
func (c *conn) plainKey(policy, key string) error {
	token, err := cred.Sign(c.hub.Host(), key, policy, c.hub.Now().Add(keyProof))
	if err != nil {
		return fault.IotHubUnauthorizedAccess.New("Unauthorized: the password is not a key")
	}
	who, err := c.hub.Admit(c.ctx, cred.Claim{SAS: token})
	if err != nil {
		return err
	}
	who.Until = time.Time{}
	m := &claim{who: who, key: true}
	return c.take(m.name(), m)
}
