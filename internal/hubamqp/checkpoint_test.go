package hubamqp_test

import (
	"strconv"
	"testing"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/navetest"
)

// A back end that keeps the offset of the last event it has handled goes on
// behind it after the hub was started anew.
func TestCheckpoint(t *testing.T) {
	conf := navetest.Configure(t)
	k := navetest.Run(t, conf)
	l := line(t, k.Device("d1"), k)
	publish(t, l, "0", "1", "2", "3", "4")
	r := service(t, k).receiver(partition2, filter("amqp.annotation.x-opt-offset > '-1'", symbolic))
	var offset string
	for range 3 {
		offset, _ = amqp.Text(parse(t, r.next()).MessageAnnotations.Get("x-opt-offset"))
	}
	if _, err := strconv.ParseInt(offset, 10, 64); err != nil {
		t.Fatal(err)
	}
	k.Close()
	k = navetest.Run(t, conf)
	again := service(t, k).receiver(partition2, filter("amqp.annotation.x-opt-offset > '"+offset+"'", symbolic))
	if got := again.bodies(2); got != "3 4" {
		t.Errorf("after the restart come %s, want 3 4", got)
	}
}
