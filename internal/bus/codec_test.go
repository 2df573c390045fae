package bus

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"
	"time"

	"github.com/nave-hub/nave"
)

// full returns an event with every field set, found by reflection so that a new
// field of nave fails here until the codec knows it.
func full(t testing.TB) *nave.Event {
	var e nave.Event
	fill(t, reflect.ValueOf(&e).Elem(), "e")
	e.Partition, e.Seq = 0, 0
	return &e
}

func fill(t testing.TB, v reflect.Value, name string) {
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)
		return
	case *[]byte:
		*x = []byte("body of " + name)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("text of " + name)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), v.Type().Field(i).Name)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(t, v.Index(i), name)
		}
	default:
		t.Fatalf("the codec does not know %s of kind %s", name, v.Kind())
	}
}

func samples(t testing.TB) []*nave.Event {
	all := []*nave.Event{full(t), {Enqueued: time.Unix(0, 0).UTC()}}
	for _, s := range sources {
		e := full(t)
		e.Source, e.App, e.Body = s, nil, nil
		e.System = nave.System{}
		all = append(all, e)
	}
	all[0].App[1] = nave.Property{Name: "", Value: "", HasValue: false}
	return all
}

func TestEventRoundTrip(t *testing.T) {
	for i, e := range samples(t) {
		rec := AppendEvent(nil, e, 12345)
		if len(rec) > eventBound(e) {
			t.Errorf("sample %d: %d bytes, bound %d", i, len(rec), eventBound(e))
		}
		var got nave.Event
		if err := ParseEvent(rec, &got, 12345); err != nil {
			t.Fatalf("sample %d: %v", i, err)
		}
		if !reflect.DeepEqual(*e, got) {
			t.Errorf("sample %d:\n%+v\n%+v", i, *e, got)
		}
		n := 4 + len(rec) - len(e.Body) - 4
		for cut := range n {
			if ParseEvent(rec[:cut], &nave.Event{}, 0) == nil {
				t.Errorf("sample %d: %d of %d bytes are taken", i, cut, len(rec))
			}
		}
	}
}

func TestEventVector(t *testing.T) {
	e := &nave.Event{Message: nave.Message{Body: []byte("hi"), App: []nave.Property{{Name: "a", Value: "b", HasValue: true}}},
		Source: nave.Telemetry, From: nave.ID{Device: "dev"}, Enqueued: time.Unix(0, 101)}
	const want = "0f000000" + "80808001" + "01" + "02" + "03646576" + "01" + "0161" + "0362" + "6869"
	if got := hex.EncodeToString(AppendEvent(nil, e, 100)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestBatchDamage(t *testing.T) {
	b := newBatch()
	for _, e := range samples(t) {
		b.add(e)
	}
	for first, want := range map[int64]int64{byStream: 9<<12 | 1, 0: 1, 41: 42} {
		events, err := parseBatch(bytes.Clone(b.seal(first)), 3, 9)
		if err != nil || len(events) != b.count || events[1].Seq != want || events[1].Partition != 3 {
			t.Fatalf("from %d: %d events, %v", first, len(events), err)
		}
	}
	raw := b.seal(41)
	for i := range raw {
		if _, err := parseBatch(raw[:i], 0, 1); err == nil {
			t.Fatalf("%d of %d bytes are taken", i, len(raw))
		}
		raw[i] ^= 0x10
		if _, err := parseBatch(raw, 0, 1); err == nil {
			t.Fatalf("byte %d changed and taken", i)
		}
		raw[i] ^= 0x10
	}
}

func FuzzEvent(f *testing.F) {
	for _, e := range samples(f) {
		f.Add(AppendEvent(nil, e, 0))
	}
	f.Fuzz(func(t *testing.T, rec []byte) {
		var e, again nave.Event
		if ParseEvent(rec, &e, 0) != nil {
			return
		}
		if err := ParseEvent(AppendEvent(nil, &e, 0), &again, 0); err != nil || !reflect.DeepEqual(e, again) {
			t.Errorf("%v\n%+v\n%+v", err, e, again)
		}
	})
}

func FuzzBatch(f *testing.F) {
	b := newBatch()
	b.add(full(f))
	f.Add(b.seal(7))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) >= batchHeader {
			reseal(raw)
		}
		parseBatch(raw, 0, 1)
	})
}
