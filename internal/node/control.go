package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/controlapi"
	"github.com/nave-hub/nave/internal/oauth"
	"github.com/nave-hub/nave/internal/store"
)

// Control is iot/v1, the contract for firmware, on a hub.
type Control struct {
	Enabled        bool           `koanf:"enabled" default:"true" doc:"Serve iot/v1: /iot/v1/ and /oauth/ on the hub's host, over HTTPS."`
	TokenLifetime  time.Duration  `koanf:"tokenLifetime" default:"1h" doc:"How long access tokens of control devices live, 5m to 24h."`
	MQTTLifetime   time.Duration  `koanf:"mqttLifetime" default:"1h" doc:"How long MQTT credentials of control devices live, 1m to 24h."`
	Plan           string         `koanf:"plan" default:"standard" doc:"Plan of control devices that name none: starter or standard."`
	PlanValues     map[string]any `koanf:"planValues" doc:"Values in place of those of every plan: request_max_bytes, batch_max_items, payload_max_bytes, and interval (seconds) and burst of catalog, desired, feed, credential, token, mqtt_feed, such as feed.burst."`
	Retention      time.Duration  `koanf:"retention" default:"2160h" doc:"How long feed data and its message ids, closed desired states and the audit log are kept, at least 720h."`
	Broker         string         `koanf:"broker" default:"" doc:"URL at which control devices reach MQTT, mqtts://host:port; empty: the hub's host with the port of listen.mqtt."`
	TrustedProxies []string       `koanf:"trustedProxies" doc:"Addresses or networks (10.0.0.0/8) of proxies whose X-Forwarded-Proto and X-Forwarded-For count for iot/v1."`
}

func (c *Control) check() error {
	switch {
	case c.TokenLifetime < 5*time.Minute || c.TokenLifetime > 24*time.Hour:
		return fmt.Errorf("hub.control.tokenLifetime is %s: allowed are 5m to 24h", c.TokenLifetime)
	case c.MQTTLifetime < time.Minute || c.MQTTLifetime > 24*time.Hour:
		return fmt.Errorf("hub.control.mqttLifetime is %s: allowed are 1m to 24h", c.MQTTLifetime)
	case c.Retention < control.MinRetention:
		return fmt.Errorf("hub.control.retention is %s: allowed are 720h and more", c.Retention)
	case c.Broker != "" && !strings.HasPrefix(c.Broker, "mqtts://"):
		return fmt.Errorf("hub.control.broker is %q: mqtts://host:port is needed", c.Broker)
	}
	if _, err := c.planValues(); err != nil {
		return err
	}
	_, err := c.proxies()
	return err
}

func (c *Control) planValues() (map[string]float64, error) {
	flat, all := map[string]any{}, map[string]float64{}
	flatten("", c.PlanValues, flat)
	p, err := nave.NewControlPlan(c.Plan)
	if err != nil {
		return nil, fmt.Errorf("hub.control.plan: %w", err)
	}
	for name, v := range flat {
		if all[name], err = strconv.ParseFloat(fmt.Sprint(v), 64); err == nil {
			err = p.Set(name, all[name])
		}
		if err != nil {
			return nil, fmt.Errorf("hub.control.planValues.%s: %w", name, err)
		}
	}
	return all, nil
}

func (c *Control) proxies() ([]netip.Prefix, error) {
	return prefixes("hub.control.trustedProxies", c.TrustedProxies)
}

// prefixes reads addresses and networks of a setting.
func prefixes(setting string, texts []string) (all []netip.Prefix, err error) {
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			a, e := netip.ParseAddr(text)
			if e != nil {
				return nil, fmt.Errorf("%s: %q is neither an address nor a network", setting, text)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		all = append(all, p)
	}
	return all, nil
}

// openControl starts iot/v1 on a hub that is open.
func (n *Node) openControl(ctx context.Context, s *site, db *store.DB) (err error) {
	c := &s.conf.Control
	if !c.Enabled {
		return nil
	}
	proxies, err := c.proxies()
	if err != nil {
		return err
	}
	values, err := c.planValues()
	if err != nil {
		return err
	}
	s.tokens, err = oauth.Open(ctx, oauth.ServerOptions{Realm: "iot", Host: s.hub.Host(), DB: db, Bus: n.bus, Lifetime: c.TokenLifetime,
		Ended: func(tx *store.Tx, client string, token []byte) error {
			return s.control.EndCredentials(tx, client, token)
		}, Log: n.log})
	if err != nil {
		return err
	}
	s.control, err = control.Open(ctx, control.Options{Hub: s.hub, DB: db, Bus: n.bus, Gate: s.gate,
		Clients: control.Clients{Put: s.tokens.PutClient, Delete: s.tokens.DeleteClient},
		Plan:    c.Plan, PlanValues: values, Retention: c.Retention, Broker: c.Broker, MQTTLife: c.MQTTLifetime, Log: n.log})
	if err != nil {
		s.tokens.Close()
		return err
	}
	s.firmware = controlapi.New(controlapi.Options{Control: s.control, Tokens: s.tokens, Proxies: proxies, Log: n.log})
	s.binding = controlapi.NewMQTT(controlapi.MQTTOptions{Control: s.control, Log: n.log})
	return nil
}

// closeControl ends iot/v1 on a hub; before the hub.
func (s *site) closeControl() error {
	if s.control == nil {
		return nil
	}
	err := s.control.Close()
	s.tokens.Close()
	return errors.Join(err)
}

// tellBroker tells control devices where MQTT is, once the port is known.
func (n *Node) tellBroker() {
	_, port, err := net.SplitHostPort(n.Address("mqtt"))
	for _, s := range n.sites {
		if err == nil && s.control != nil && s.conf.Control.Broker == "" {
			s.control.SetBroker("mqtts://" + net.JoinHostPort(s.hub.Host(), port))
		}
	}
}

// Control returns the iot/v1 side of a hub by its host name, nil when it is off
// or there is no such hub.
func (n *Node) Control(host string) *control.Control {
	for _, s := range n.sites {
		if strings.EqualFold(s.hub.Host(), host) {
			return s.control
		}
	}
	return nil
}
