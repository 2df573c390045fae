package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/nave-hub/nave/internal/mqtt"
)

const (
	provisionReplies  = "$dps/registrations/res/"
	provisionRegister = "$dps/registrations/PUT/iotdps-register/?$rid="
	provisionStatus   = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid="
)

// mqttExchange is a device that registers over MQTT (dps 2.4).
type mqttExchange struct {
	p         *Provisioner
	id, token string
	body      []byte

	c       *mqtt.Client
	rid     int
	replies chan mqttReply
}

// mqttReply is a message on a response topic.
type mqttReply struct {
	status     int
	rid, after string
	body       []byte
}

func (x *mqttExchange) open(ctx context.Context) error {
	nc, err := x.p.target.Dial(ctx)
	if err != nil {
		return err
	}
	o := mqtt.ClientOptions{ClientID: x.id, Clean: true, KeepAlive: fleetKeep,
		Username: x.p.scope + "/registrations/" + x.id + "/api-version=" + provisionVersion + "&ClientVersion=nave"}
	if x.token != "" {
		o.Password = []byte(x.token)
	}
	x.replies = make(chan mqttReply, 4)
	c, _, err := mqtt.Open(nc, o, mqtt.ClientHandler{Message: x.message})
	if err != nil {
		return err
	}
	x.c = c
	if err := subscribe(ctx, c, provisionReplies+"#"); err != nil {
		x.end()
		return err
	}
	return nil
}

// message reads $dps/registrations/res/{status}/?$rid={rid}&retry-after={seconds}.
func (x *mqttExchange) message(p *mqtt.Publish) {
	status, query, ok := strings.Cut(strings.TrimPrefix(p.Topic, provisionReplies), "/?")
	if !ok {
		return
	}
	r := mqttReply{body: bytes.Clone(p.Payload)}
	r.status, _ = strconv.Atoi(status)
	for part := range strings.SplitSeq(query, "&") {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "$rid":
			r.rid = value
		case "retry-after":
			r.after = value
		}
	}
	select {
	case x.replies <- r:
	default: // nobody has asked for so many
	}
}

func (x *mqttExchange) register(ctx context.Context, _ *turn) (*provisionAnswer, error) {
	return x.call(ctx, provisionRegister, "", x.body)
}

func (x *mqttExchange) poll(ctx context.Context, _ *turn, operation string) (*provisionAnswer, error) {
	return x.call(ctx, provisionStatus, "&operationId="+url.QueryEscape(operation), []byte(" "))
}

func (x *mqttExchange) call(ctx context.Context, topic, more string, body []byte) (*provisionAnswer, error) {
	if x.c == nil {
		if err := x.open(ctx); err != nil {
			return nil, err
		}
	}
	x.rid++
	rid := strconv.Itoa(x.rid)
	if err := x.c.Publish(&mqtt.Publish{Topic: topic + rid + more, Payload: body, QoS: 1, ID: uint16(x.rid)}); err != nil {
		return nil, err
	}
	for {
		select {
		case r := <-x.replies:
			if r.rid == rid {
				return readProvision(r.status, r.after, r.body)
			}
		case <-x.c.Done():
			return nil, errors.New("the provisioning service has closed the connection")
		case <-ctx.Done():
			return nil, fmt.Errorf("the provisioning service did not answer: %w", context.Cause(ctx))
		}
	}
}

func (x *mqttExchange) end() {
	if x.c != nil {
		x.c.Close()
		<-x.c.Done()
		x.c = nil
	}
}
