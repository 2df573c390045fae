package hubamqp_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/navetest"
	nodes "github.com/nave-hub/nave/internal/node"
)

const partition2 = "hub/ConsumerGroups/$Default/Partitions/2" // where d1 is

// filter sets the selector of a receiver, described as JavaScript does, or by
// symbol as Python does.
func filter(expression string, descriptor any) func(*amqp.Link) {
	return func(l *amqp.Link) {
		var v any = expression
		if descriptor != nil {
			v = amqp.Described{Descriptor: descriptor, Value: expression}
		}
		l.Source.Filter = amqp.Map{{Key: amqp.Symbol("apache.org:selector-filter:string"), Value: v}}
	}
}

const (
	numeric  = uint64(0x468C00000004)
	symbolic = amqp.Symbol("apache.org:selector-filter:string")
)

func epoch(n int64) func(*amqp.Link) {
	return func(l *amqp.Link) { l.Answer = amqp.Map{{Key: amqp.Symbol("com.microsoft:epoch"), Value: n}} }
}

// bodies takes n events and returns what is in them.
func (r *receiver) bodies(n int) string {
	r.t.Helper()
	var all []string
	for range n {
		m := parse(r.t, r.next())
		all = append(all, string(m.Data[0]))
	}
	return strings.Join(all, " ")
}

func TestRedirect(t *testing.T) {
	k := navetest.Start(t)
	b := service(t, k)
	refused := func(t *testing.T, address string) amqp.Map {
		t.Helper()
		_, err := b.tryReceiver(address)
		e := condition(t, err)
		if e.Condition != amqp.LinkRedirect || e.Description == "" {
			t.Fatalf("condition is %v", e)
		}
		return e.Info
	}
	t.Run("SVC-236 messages/events/$management", func(t *testing.T) {
		for _, address := range []string{"messages/events/$management", "/Messages/Events/$management", "amqps://hub.test:5671/messages/events/$management"} {
			info := refused(t, address)
			if info.Get("hostname") != "hub.test" || info.Get("network-host") != "hub.test" || info.Get("port") != int32(5671) ||
				info.Get("address") != "amqps://hub.test:5671/hub/$management" || info.Get("com.microsoft:tracking-id") == nil {
				t.Errorf("info is %v", info)
			}
		}
		if info := refused(t, "messages/events/ConsumerGroups/$Default/Partitions/3"); info.Get("address") != "amqps://hub.test:5671/hub/ConsumerGroups/$Default/Partitions/3" {
			t.Errorf("info is %v", info)
		}
	})
	t.Run("SVC-237 messages/events/", func(t *testing.T) {
		if info := refused(t, "messages/events/"); info.Get("address") != "amqps://hub.test:5671/hub/" {
			t.Errorf("info is %v", info)
		}
	})
	t.Run("needs a token", func(t *testing.T) {
		_, err := dialBack(t, k).tryReceiver("messages/events/$management")
		if e := condition(t, err); e.Condition != amqp.UnauthorizedAccess {
			t.Errorf("condition is %v", e)
		}
	})
}

func read(kind string, more ...amqp.Pair) *amqp.Message {
	return &amqp.Message{Properties: &amqp.Properties{MessageID: "r", ReplyTo: "replies"},
		ApplicationProperties: append(amqp.Map{{Key: "operation", Value: "READ"}, {Key: "name", Value: "Hub"}, {Key: "type", Value: kind}}, more...)}
}

func TestManagement(t *testing.T) {
	k := navetest.Start(t)
	d1 := k.Device("d1")
	b := service(t, k)
	n := b.node("$management")
	ofPartition := func(p any) *amqp.Message {
		return read("com.microsoft:partition", amqp.Pair{Key: "partition", Value: p})
	}
	t.Run("SVC-238 READ eventhub", func(t *testing.T) {
		r := n.ask(read("com.microsoft:eventhub"))
		v, _ := r.Value.(amqp.Map)
		ids, _ := v.Get("partition_ids").(amqp.Array)
		created, _ := v.Get("created_at").(amqp.Timestamp)
		if r.ApplicationProperties.Get("status-code") != int32(200) || fmt.Sprint(ids.Items) != "[0 1 2 3]" || v.Get("partition_count") != int32(4) ||
			v.Get("name") != "Hub" || v.Get("type") != "com.microsoft:eventhub" || k.Clock.Now().Sub(created.Time()) > time.Hour {
			t.Errorf("answer is %v %v", r.ApplicationProperties, r.Value)
		}
	})
	t.Run("SVC-239 READ an empty partition", func(t *testing.T) {
		v, _ := n.ask(ofPartition("0")).Value.(amqp.Map)
		if v.Get("is_partition_empty") != true || v.Get("last_enqueued_sequence_number") != int64(-1) || v.Get("last_enqueued_offset") != "-1" ||
			v.Get("begin_sequence_number") != int64(0) || v.Get("partition") != "0" {
			t.Errorf("answer is %v", v)
		}
	})
	t.Run("READ a partition", func(t *testing.T) {
		publish(t, line(t, d1, k), "a", "b")
		e := k.Events(2, func(*nave.Event) bool { return true })
		v, _ := n.ask(ofPartition("2")).Value.(amqp.Map)
		if v.Get("is_partition_empty") != false || v.Get("last_enqueued_sequence_number") != e[1].Seq || v.Get("last_enqueued_offset") != strconv.FormatInt(e[1].Seq, 10) ||
			v.Get("last_enqueued_time_utc") != amqp.NewTimestamp(e[1].Enqueued) || v.Get("begin_sequence_number") != e[0].Seq {
			t.Errorf("answer is %v", v)
		}
	})
	t.Run("SVC-240 READ partition 99", func(t *testing.T) {
		for _, m := range []*amqp.Message{ofPartition("99"), ofPartition("x"), ofPartition(nil)} {
			r := n.ask(m)
			if text, _ := r.ApplicationProperties.Get("status-description").(string); r.ApplicationProperties.Get("status-code") != int32(404) || text == "" {
				t.Errorf("answer is %v", r.ApplicationProperties)
			}
			for name, older := range map[string]string{"status-code": "statusCode", "status-description": "statusDescription"} {
				if p := r.ApplicationProperties; p.Get(name) != p.Get(older) {
					t.Errorf("%s is %v, %s is %v", name, p.Get(name), older, p.Get(older))
				}
			}
		}
	})
	t.Run("SVC-241 message-id of a number", func(t *testing.T) {
		for _, id := range []any{uint64(3), amqp.UUID{1}, "s"} {
			m := read("com.microsoft:eventhub")
			m.Properties.MessageID = id
			if r := n.ask(m); r.Properties.CorrelationID != id {
				t.Errorf("correlation-id of %T is %T %v", id, r.Properties.CorrelationID, r.Properties.CorrelationID)
			}
		}
	})
	t.Run("bad requests", func(t *testing.T) {
		m := read("com.microsoft:eventhub")
		m.ApplicationProperties[1].Value = "another"
		if r := n.ask(m); r.ApplicationProperties.Get("status-code") != int32(404) {
			t.Errorf("answer is %v", r.ApplicationProperties)
		}
		m.ApplicationProperties[0].Value = "WRITE"
		if r := n.ask(m); r.ApplicationProperties.Get("status-code") != int32(400) {
			t.Errorf("answer is %v", r.ApplicationProperties)
		}
		if r := n.ask(read("com.microsoft:queue")); r.ApplicationProperties.Get("status-code") != int32(400) {
			t.Errorf("answer is %v", r.ApplicationProperties)
		}
		n.send.transfer([]byte{1, 2, 3}, 0)
		if _, ok := n.send.next().(amqp.Rejected); !ok {
			t.Error("bytes that are no message are not rejected")
		}
	})
	t.Run("another entity", func(t *testing.T) {
		_, err := b.trySender("another/$management")
		if e := condition(t, err); e.Condition != amqp.NotFound {
			t.Errorf("condition is %v", e)
		}
	})
}

func TestReaderTokens(t *testing.T) {
	k := navetest.Start(t)
	p, _ := k.Hub.Policy("service")
	for name, sign := range map[string]func(string, string, string, time.Time) (string, error){
		"SVC-242 signed with the key's text": cred.SignText, "SVC-243 signed with the key": cred.Sign} {
		t.Run(name, func(t *testing.T) {
			token, err := sign("sb://hub.test/hub/ConsumerGroups/$Default/Partitions/2", p.Primary, "service", k.Clock.Now().Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			b := dialBack(t, k)
			b.put(token)
			b.receiver(partition2)
			_, err = b.tryReceiver("hub/ConsumerGroups/$Default/Partitions/1")
			if e := condition(t, err); e.Condition != amqp.UnauthorizedAccess {
				t.Errorf("another partition answers %v", e)
			}
			if _, err := b.trySender("/messages/devicebound"); err == nil {
				t.Error("the token of a reader sends to devices")
			}
		})
	}
}

// TestReaderAudience: Python signs for the consumer group, in lower case.
func TestReaderAudience(t *testing.T) {
	k := navetest.Start(t)
	p, _ := k.Hub.Policy("service")
	token, err := cred.SignText("sb://hub.test/hub/consumergroups/$Default", p.Primary, "service", k.Clock.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	b := dialBack(t, k)
	b.put(token)
	b.receiver(partition2)
	_, err = b.tryReceiver("hub/ConsumerGroups/other/Partitions/1")
	if e := condition(t, err); e.Condition != amqp.UnauthorizedAccess {
		t.Errorf("another group answers %v", e)
	}
}

func TestReaderPositions(t *testing.T) {
	k := navetest.Start(t, func(c *nodes.Config) { c.Hub.Events.Groups = []string{"dashboard"} })
	d1 := k.Device("d1")
	l := line(t, d1, k)
	for n := range 10 {
		publish(t, l, fmt.Sprint(n))
	}
	k.Clock.Add(time.Minute)
	mark := k.Clock.Now()
	publish(t, l, "10", "11")
	b := service(t, k)
	all := "0 1 2 3 4 5 6 7 8 9 10 11"
	for _, c := range []struct {
		name, expression string
		descriptor       any
		want             string
	}{
		{"SVC-244 from the start, descriptor a symbol", "amqp.annotation.x-opt-offset > '-1'", symbolic, all},
		{"SVC-245 from the start, descriptor a number", "amqp.annotation.x-opt-offset > '-1'", numeric, all},
		{"SVC-247 by time", fmt.Sprintf("amqp.annotation.x-opt-enqueued-time > '%d'", mark.UnixMilli()-1), symbolic, "10 11"},
		{"SVC-248 by sequence number, inclusive", "amqp.annotation.x-opt-sequence-number >= '5'", numeric, "5 6 7 8 9 10 11"},
		{"by sequence number, exclusive", "amqp.annotation.x-opt-sequence-number > '5'", numeric, "6 7 8 9 10 11"},
		{"by offset", "amqp.annotation.x-opt-offset > '9'", symbolic, "10 11"},
		{"by offset, inclusive, loosely written", " AMQP.annotation.x-opt-offset>=9 ", nil, "9 10 11"},
		{"from the start by sequence number", "amqp.annotation.x-opt-sequence-number >= '0'", nil, all},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := b.receiver(partition2, filter(c.expression, c.descriptor))
			if got := r.bodies(len(strings.Fields(c.want))); got != c.want {
				t.Errorf("events are %s, want %s", got, c.want)
			}
			r.Detach(nil)
			<-r.gone
		})
	}
	t.Run("without a filter", func(t *testing.T) {
		if got := b.receiver(partition2).bodies(12); got != all {
			t.Errorf("events are %s", got)
		}
	})
	t.Run("bad filters", func(t *testing.T) {
		for _, f := range []string{"amqp.annotation.x-opt-offset", "amqp.annotation.x-opt-offset > 'a'", "amqp.annotation.other > '1'", "x > 1", ""} {
			_, err := b.tryReceiver(partition2, filter(f, symbolic))
			if e := condition(t, err); e.Condition != "com.microsoft:argument-error" {
				t.Errorf("%q: condition is %v", f, e)
			}
		}
	})
	t.Run("SVC-246 only new events", func(t *testing.T) {
		r := b.receiver(partition2, filter("amqp.annotation.x-opt-offset > '@latest'", symbolic))
		publish(t, l, "12", "13")
		if got := r.bodies(2); got != "12 13" {
			t.Errorf("events are %s", got)
		}
	})
	t.Run("SVC-249 consumer groups", func(t *testing.T) {
		for _, group := range []string{"$default", "dashboard", "DASHBOARD"} {
			if got := b.receiver("HUB/ConsumerGroups/" + group + "/Partitions/2").bodies(1); got != "0" {
				t.Errorf("events are %s", got)
			}
		}
		_, err := b.tryReceiver("hub/ConsumerGroups/nope/Partitions/2")
		if e := condition(t, err); e.Condition != amqp.NotFound || !strings.Contains(e.Description, "could not be found") {
			t.Errorf("condition is %v", e)
		}
	})
	t.Run("unknown entity and partition", func(t *testing.T) {
		_, err := b.tryReceiver("other/ConsumerGroups/$Default/Partitions/2")
		if e := condition(t, err); e.Condition != amqp.NotFound {
			t.Errorf("condition is %v", e)
		}
		for _, p := range []string{"4", "-1", "x"} {
			_, err = b.tryReceiver("hub/ConsumerGroups/$Default/Partitions/" + p)
			if e := condition(t, err); e.Condition != "com.microsoft:argument-out-of-range" || !strings.Contains(e.Description, "503003") {
				t.Errorf("condition is %v", e)
			}
		}
	})
	t.Run("publishing", func(t *testing.T) {
		for _, address := range []string{"hub", "hub/Partitions/1"} {
			_, err := b.trySender(address)
			if e := condition(t, err); e.Condition != amqp.UnauthorizedAccess {
				t.Errorf("%s: condition is %v", address, e)
			}
		}
	})
	t.Run("deleted group", func(t *testing.T) {
		r := b.receiver("hub/ConsumerGroups/dashboard/Partitions/0")
		if err := k.Backend.DeleteGroup(t.Context(), "Dashboard"); err != nil {
			t.Fatal(err)
		}
		if e := ended(t, r.gone); e.Condition != amqp.NotFound {
			t.Errorf("condition is %v", e)
		}
	})
}

func TestReaderEpochs(t *testing.T) {
	k := navetest.Start(t)
	b := service(t, k)
	stolen := func(t *testing.T, gone chan error) {
		t.Helper()
		if e := ended(t, gone); e.Condition != amqp.LinkStolen || !strings.Contains(e.Description, "409002") {
			t.Errorf("condition is %v", e)
		}
	}
	t.Run("SVC-250 epoch 2 after epoch 1", func(t *testing.T) {
		shared := b.receiver(partition2)
		one := b.receiver(partition2, epoch(1))
		stolen(t, shared.gone)
		two := b.receiver(partition2, epoch(2))
		stolen(t, one.gone)
		again := b.receiver(partition2, epoch(2))
		stolen(t, two.gone)
		for name, c := range map[string]func(*amqp.Link){"lower": epoch(1), "none": func(*amqp.Link) {}} {
			_, err := b.tryReceiver(partition2, c)
			if e := condition(t, err); e.Condition != amqp.LinkStolen {
				t.Errorf("%s: condition is %v", name, e)
			}
		}
		b.receiver("hub/ConsumerGroups/$Default/Partitions/1", epoch(0))
		again.Detach(nil)
		<-again.gone
	})
	t.Run("bad epoch", func(t *testing.T) {
		for _, v := range []any{int64(-1), "1"} {
			_, err := b.tryReceiver(partition2, func(l *amqp.Link) { l.Answer = amqp.Map{{Key: amqp.Symbol("com.microsoft:epoch"), Value: v}} })
			if e := condition(t, err); e.Condition != "com.microsoft:argument-error" {
				t.Errorf("%v: condition is %v", v, e)
			}
		}
	})
	t.Run("five readers without epoch", func(t *testing.T) {
		const address = "hub/ConsumerGroups/$Default/Partitions/0"
		var all []*receiver
		for range 5 {
			all = append(all, b.receiver(address))
		}
		_, err := b.tryReceiver(address)
		if e := condition(t, err); e.Condition != amqp.ResourceLimitExceeded {
			t.Errorf("condition is %v", e)
		}
		b.receiver(address, epoch(0))
		for _, r := range all {
			stolen(t, r.gone)
		}
	})
}

func TestReaderOpensThrottled(t *testing.T) {
	k := navetest.Start(t)
	k.Clock.Freeze(time.Now()) // or a slow machine never opens them too fast
	b := service(t, k)
	t.Run("receivers are opened too fast", func(t *testing.T) {
		for range 200 {
			r, err := b.tryReceiver(partition2)
			if err == nil {
				r.Detach(nil)
				<-r.gone
				continue
			}
			if e := condition(t, err); e.Condition != "com.microsoft:server-busy" || !strings.Contains(e.Description, "503008") {
				t.Errorf("condition is %v", e)
			}
			k.Clock.Add(time.Second)
			b.receiver(partition2)
			return
		}
		t.Error("200 receivers were let in")
	})
}

func TestReaderMessages(t *testing.T) {
	k := navetest.Start(t, func(c *nodes.Config) { c.Hub.Events.Sources = []string{"TwinChangeEvents"} })
	d1, m1 := k.Device("d1"), k.Device("d1/m1")
	b := service(t, k)
	r := b.receiver(partition2, func(l *amqp.Link) { l.Desired = []amqp.Symbol{"com.microsoft:enable-receiver-runtime-metric"} })
	t.Run("SVC-252 telemetry of d1", func(t *testing.T) {
		done := make(chan error, 1)
		line(t, d1, k).Send(&nave.Message{Body: []byte{0, 255}, System: nave.System{MessageID: "m", CorrelationID: "c", UserID: "u", ContentType: "application/json",
			ContentEncoding: "utf-8", Subject: "thermostat", Created: "2024-01-01T00:00:00.0000000Z"},
			App: []nave.Property{{Name: "level", Value: "3", HasValue: true}, {Name: "bare"}}}, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		m := parse(t, r.next())
		e := k.Events(1, func(*nave.Event) bool { return true })[0]
		a, p := m.MessageAnnotations, m.Properties
		if e.Partition != 2 {
			t.Errorf("the event is in partition %d", e.Partition)
		}
		for key, want := range map[string]any{
			"x-opt-sequence-number": e.Seq, "x-opt-offset": strconv.FormatInt(e.Seq, 10), "x-opt-enqueued-time": amqp.NewTimestamp(e.Enqueued),
			"x-opt-partition-key": "d1", "iothub-connection-device-id": "d1", "iothub-connection-module-id": nil,
			"iothub-connection-auth-method":        `{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}`,
			"iothub-connection-auth-generation-id": e.Generation, "iothub-enqueuedtime": amqp.NewTimestamp(e.Enqueued), "iothub-message-source": "Telemetry",
			"dt-subject": "thermostat", "iothub-creation-time-utc": "2024-01-01T00:00:00.0000000Z",
		} {
			if got := a.Get(key); got != want {
				t.Errorf("%s is %T %v, want %T %v", key, got, got, want, want)
			}
		}
		if _, symbol := a[0].Key.(amqp.Symbol); !symbol {
			t.Errorf("annotations have keys of type %T", a[0].Key)
		}
		if p.MessageID != "m" || p.CorrelationID != "c" || string(p.UserID) != "u" || p.ContentType != "application/json" || p.ContentEncoding != "utf-8" || p.To != "/devices/d1/messages/events" {
			t.Errorf("properties are %+v", p)
		}
		if want := (amqp.Map{{Key: "level", Value: "3"}, {Key: "bare", Value: nil}}); !slices.Equal(m.ApplicationProperties, want) {
			t.Errorf("application properties are %v", m.ApplicationProperties)
		}
		if len(m.Data) != 1 || string(m.Data[0]) != "\x00\xff" {
			t.Errorf("body is %x", m.Data)
		}
	})
	t.Run("SVC-253 two messages of d1", func(t *testing.T) {
		publish(t, line(t, d1, k), "a", "b")
		first, second := parse(t, r.next()), parse(t, r.next())
		one, _ := first.MessageAnnotations.Get("x-opt-sequence-number").(int64)
		two, _ := second.MessageAnnotations.Get("x-opt-sequence-number").(int64)
		if two <= one || string(second.Data[0]) != "b" {
			t.Errorf("sequence numbers are %d and %d", one, two)
		}
	})
	t.Run("module", func(t *testing.T) {
		publish(t, line(t, m1, k), "x")
		m := parse(t, r.next())
		if m.MessageAnnotations.Get("iothub-connection-module-id") != "m1" || m.Properties.To != "/devices/d1/modules/m1/messages/events" {
			t.Errorf("message is %+v", m)
		}
	})
	t.Run("SVC-251 runtime metrics", func(t *testing.T) {
		publish(t, line(t, d1, k), "x")
		m := parse(t, r.next())
		seq := m.MessageAnnotations.Get("x-opt-sequence-number")
		d := m.DeliveryAnnotations
		if d.Get("last_enqueued_sequence_number") != seq || d.Get("last_enqueued_offset") != fmt.Sprint(seq) ||
			d.Get("last_enqueued_time_utc") != m.MessageAnnotations.Get("x-opt-enqueued-time") {
			t.Errorf("delivery annotations are %v", d)
		}
		if at, ok := d.Get("runtime_info_retrieval_time_utc").(amqp.Timestamp); !ok || k.Clock.Now().Sub(at.Time()) > time.Hour {
			t.Errorf("delivery annotations are %v", d)
		}
		plain := parse(t, b.receiver(partition2).next())
		if plain.DeliveryAnnotations != nil {
			t.Errorf("who did not ask gets %v", plain.DeliveryAnnotations)
		}
	})
	t.Run("SVC-259 twin change", func(t *testing.T) {
		k.REST("PATCH", "/twins/d1", `{"tags":{"room":"1"}}`)
		m := parse(t, r.next())
		if m.MessageAnnotations.Get("iothub-message-source") != "twinChangeEvents" || m.ApplicationProperties.Get("opType") != "updateTwin" ||
			m.ApplicationProperties.Get("iothub-message-schema") != "twinChangeNotification" || m.Properties.ContentType != "application/json" {
			t.Errorf("message is %+v %v", m, m.Properties)
		}
	})
}

func TestReaderCredit(t *testing.T) {
	k := navetest.Start(t)
	l := line(t, k.Device("d1"), k)
	b := service(t, k)
	publish(t, l, "0", "1", "2", "3", "4")
	drained := make(chan struct{}, 1)
	for name, mode := range map[string]uint8{"settled": amqp.SettleSettled, "unsettled": amqp.SettleUnsettled} {
		t.Run(name, func(t *testing.T) {
			r := b.receiver(partition2, func(l *amqp.Link) {
				l.ManualCredit, l.SndMode = true, mode
				l.OnDrained = func() { drained <- struct{}{} }
			})
			r.Grant(2)
			if got := r.bodies(2); got != "0 1" {
				t.Errorf("events are %s", got)
			}
			r.Grant(10)
			r.Drain()
			wantDrained(t, r, drained, "2 3 4")
		})
		t.Run(name+", at once", func(t *testing.T) {
			r := b.receiver(partition2, func(l *amqp.Link) {
				l.ManualCredit, l.SndMode = true, mode
				l.OnDrained = func() { drained <- struct{}{} }
			})
			r.Grant(10)
			r.Drain()
			wantDrained(t, r, drained, "0 1 2 3 4")
		})
	}
}

// wantDrained wants the events, and then the credit back.
func wantDrained(t *testing.T, r *receiver, drained <-chan struct{}, want string) {
	t.Helper()
	if got := r.bodies(len(strings.Fields(want))); got != want {
		t.Errorf("events are %s, want %s", got, want)
	}
	select {
	case <-drained:
	case <-within(t).Done():
		t.Fatal("the credit does not come back")
	}
	if len(r.came) > 0 || r.Credit() != 0 {
		t.Errorf("%d more events, credit %d", len(r.came), r.Credit())
	}
}
