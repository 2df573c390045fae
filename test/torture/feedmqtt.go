package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/nave-hub/nave/internal/mqtt"
)

// feedWindow is how many publishes may wait for their acknowledgement; the
// catalogue allows 20.
const feedWindow = 16

// catalogue reads the topics.
func (f *feeder) catalogue(p *process) error {
	status, text, err := f.call(context.Background(), p, http.MethodGet, f.path("/mqtt"), nil)
	if err != nil || status != http.StatusOK {
		return unexpected("the MQTT catalogue", status, text, err)
	}
	var a struct {
		Acks   string `json:"feed_data_ack_topic"`
		Routes []struct {
			Sensor string `json:"sensor_id"`
			Topic  string `json:"feed_data_topic"`
		}
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return err
	}
	f.acks = a.Acks
	for _, r := range a.Routes {
		if r.Sensor == f.sensor {
			f.topic = r.Topic
		}
	}
	if f.acks == "" || f.topic == "" {
		return fmt.Errorf("the MQTT catalogue lacks a topic: %s", text)
	}
	return nil
}

// credential returns the password, which the device asks for once: it outlives
// the hub's process.
func (f *feeder) credential(ctx context.Context, p *process) (string, error) {
	f.mu.Lock()
	password := f.password
	f.mu.Unlock()
	if password != "" {
		return password, nil
	}
	status, text, err := f.call(ctx, p, http.MethodPost, "/iot/v1/mqtt-credentials", map[string]string{"device_id": f.id})
	if err != nil || status != http.StatusCreated {
		return "", unexpected("an MQTT credential", status, text, err)
	}
	var a struct {
		Password string `json:"mqtt_credential"`
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return "", err
	}
	f.mu.Lock()
	f.password = a.Password
	f.mu.Unlock()
	return a.Password, nil
}

// feedRide is one connection of a control device.
type feedRide struct {
	f    *feeder
	c    *mqtt.Client
	room chan struct{} // a free place in the window each
	lost chan error
}

// ride is one connection; nil when the device ended it by itself.
func (f *feeder) ride(ctx context.Context, p *process) error {
	r := &feedRide{f: f, room: make(chan struct{}, feedWindow), lost: make(chan error, 1)}
	for range feedWindow {
		r.room <- struct{}{}
	}
	if err := r.open(ctx, p); err != nil {
		return err
	}
	defer f.landAll()
	defer func() { <-r.c.Done() }()
	defer r.c.Kill()
	subs, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	if codes, err := r.c.Subscribe(subs, mqtt.Subscription{Filter: f.acks, QoS: 1}); err != nil || codes[0] != 1 {
		return fmt.Errorf("subscribing to the acknowledgements: %v, %w", codes, err)
	}
	id := 0
	for range 20 + rand.IntN(200) {
		for range 1 + rand.IntN(8) {
			if ok, err := r.hasRoom(ctx); !ok {
				return err
			}
			id++
			if err := r.publish(packetID(id)); err != nil {
				return fmt.Errorf("publishing feed data: %w", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-r.lost:
			return fmt.Errorf("lost: %v", err)
		case <-time.After(rand.N(pauseMost)):
		}
	}
	return nil
}

func (r *feedRide) open(ctx context.Context, p *process) error {
	f := r.f
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	password, err := f.credential(ctx, p)
	if err != nil {
		return err
	}
	nc, err := (&tls.Dialer{Config: p.tls}).DialContext(ctx, "tcp", p.addresses["mqtt"])
	if err != nil {
		return err
	}
	r.c, _, err = mqtt.Open(nc, mqtt.ClientOptions{Level: byte(4 + rand.IntN(2)), ClientID: f.id, Username: f.id, Password: []byte(password), KeepAlive: 30, Clean: true},
		mqtt.ClientHandler{Message: r.ack, Closed: func(err error) { r.lost <- err }})
	return err
}

func (r *feedRide) hasRoom(ctx context.Context) (bool, error) {
	select {
	case <-r.room:
		return true, nil
	case <-ctx.Done():
		return false, nil
	case err := <-r.lost:
		return false, fmt.Errorf("lost: %v", err)
	}
}

// publish sends one item; the topic names its source.
func (r *feedRide) publish(id uint16) error {
	taken := r.f.take(1)
	body := r.f.bodies(taken)[0]
	body.Sensor = ""
	payload, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return r.c.Publish(&mqtt.Publish{Topic: r.f.topic, Payload: payload, QoS: 1, ID: id})
}

// ack takes an application acknowledgement, which is all that counts (iot-v1
// DH-6).
func (r *feedRide) ack(p *mqtt.Publish) {
	f := r.f
	var a struct {
		feedAnswer
		Topic     string `json:"feed_data_topic"`
		Retryable bool
	}
	err := json.Unmarshal(p.Payload, &a)
	n := numberOf(a.Message)
	if err != nil || p.Topic != f.acks || a.Topic != f.topic || !f.flies(n) {
		f.l.violate("%s: an acknowledgement for nothing that was sent, on %s: %s", f.id, p.Topic, p.Payload)
		return
	}
	switch {
	case a.Status != "rejected":
		f.accepted(n, a.Status, a.Feed)
		f.l.appAcks.Add(1)
	case !a.Retryable || !f.l.excused():
		f.l.violate("%s: %s was answered with %s", f.id, a.Message, p.Payload)
	}
	f.land(n)
	r.room <- struct{}{}
}

// flies says whether a request with item n is under way.
func (f *feeder) flies(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return n >= 0 && n < len(f.items) && f.items[n].flying
}

// landAll ends the flights of a connection that is over.
func (f *feeder) landAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range f.items {
		i.flying = false
	}
}
