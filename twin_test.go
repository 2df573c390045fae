package nave_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

var (
	limits = nave.Defaults()
	noon   = time.Date(2024, 3, 1, 12, 0, 0, 123456789, time.UTC)
)

type example struct {
	name, kind, body, etag                string // kind: tags, desired, put or reported
	tags, desired, reported               string
	version, desiredVersion, reportedVers int64
	etagAfter, notification               string
	fault                                 *fault.Code
}

// The worked examples of hub-semantics 6.8, one after another on one twin.
var examples = []example{
	{"TWIN-001 create identity", "", "", "", `{}`, `{}`, `{}`, 2, 1, 1, "AAAAAAAAAAE=", "", nil},
	{"TWIN-002 tags only", "tags", `{"a":1}`, "", `{"a":1}`, `{}`, `{}`, 3, 2, 1, "AAAAAAAAAAI=", `{"$version":2}`, nil},
	{"TWIN-003 merge desired", "desired", `{"x":{"y":1}}`, "", `{"a":1}`, `{"x":{"y":1}}`, `{}`, 4, 3, 1, "AAAAAAAAAAM=", `{"x":{"y":1},"$version":3}`, nil},
	{"TWIN-004 reported", "reported", `{"x":5}`, "", `{"a":1}`, `{"x":{"y":1}}`, `{"x":5}`, 5, 3, 2, "AAAAAAAAAAM=", "", nil},
	{"TWIN-005 null deletes below", "desired", `{"x":{"y":null}}`, "", `{"a":1}`, `{"x":{}}`, `{"x":5}`, 6, 4, 2, "AAAAAAAAAAQ=", `{"x":{"y":null},"$version":4}`, nil},
	{"TWIN-006 null makes parent", "desired", `{"p":{"q":null}}`, "", `{"a":1}`, `{"p":{},"x":{}}`, `{"x":5}`, 7, 5, 2, "AAAAAAAAAAU=", `{"p":{"q":null},"$version":5}`, nil},
	{"TWIN-007 replace", "put", `{"z":1}`, "", `{"a":1}`, `{"z":1}`, `{"x":5}`, 8, 6, 2, "AAAAAAAAAAY=", `{"p":null,"x":null,"z":1,"$version":6}`, nil},
	{"TWIN-008 old etag", "desired", `{"z":2}`, `"AAAAAAAAAAU="`, `{"a":1}`, `{"z":1}`, `{"x":5}`, 8, 6, 2, "AAAAAAAAAAY=", "", fault.PreconditionFailed},
	{"TWIN-009 key with a dot", "desired", `{"ok":1,"a.b":2}`, "", `{"a":1}`, `{"z":1}`, `{"x":5}`, 8, 6, 2, "AAAAAAAAAAY=", "", fault.ArgumentInvalid},
	{"TWIN-010 integer out of range", "reported", `{"n":4503599627370496}`, "", `{"a":1}`, `{"z":1}`, `{"x":5}`, 8, 6, 2, "AAAAAAAAAAY=", "", fault.ArgumentInvalid},
	{"TWIN-011 null in an array", "reported", `{"l":[1,null]}`, "", `{"a":1}`, `{"z":1}`, `{"x":5}`, 8, 6, 2, "AAAAAAAAAAY=", "", fault.ArgumentInvalid},
	{"TWIN-012 delete absent", "reported", `{"x":null,"absent":null}`, "", `{"a":1}`, `{"z":1}`, `{}`, 9, 6, 3, "AAAAAAAAAAY=", "", nil},
}

func TestWorkedExamples(t *testing.T) {
	twin := nave.NewTwin(nave.ID{Device: "d"})
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			c, err := e.run(t, twin)
			if e.fault == nil && err != nil || e.fault != nil && !errors.Is(err, e.fault) {
				t.Fatalf("error %v, want %v", err, e.fault)
			}
			e.check(t, twin, &c)
		})
	}
}

func (e *example) run(t *testing.T, twin *nave.Twin) (nave.Change, error) {
	if e.kind == "" {
		return nave.Change{}, nil
	}
	if err := twin.CheckETag(e.etag); err != nil {
		return nave.Change{}, err
	}
	p := nave.Patch{Replace: e.kind == "put"}
	switch d := mustDoc(t, e.body); e.kind {
	case "tags":
		p.Tags = d
	case "reported":
		p.Reported = d
	default:
		p.Desired = d
	}
	return twin.Apply(p, noon, &limits)
}

func (e *example) check(t *testing.T, twin *nave.Twin, c *nave.Change) {
	same := func(what, got, want string) {
		if got != want {
			t.Errorf("%s is %s, want %s", what, got, want)
		}
	}
	same("tags", string(twin.Tags.Append(nil)), e.tags)
	same("desired", string(twin.Desired.Data.Append(nil)), e.desired)
	same("reported", string(twin.Reported.Data.Append(nil)), e.reported)
	same("etag", twin.ETagText(), e.etagAfter)
	note := ""
	if c.Desired != nil {
		note = string(c.AppendNotification(nil))
	}
	same("notification", note, e.notification)
	if twin.Version() != e.version || twin.Desired.Version != e.desiredVersion || twin.Reported.Version != e.reportedVers {
		t.Errorf("versions are %d / %d / %d", twin.Desired.Version, twin.Reported.Version, twin.Version())
	}
}

func TestApplyIgnoresWhatTheHubWrites(t *testing.T) {
	twin := nave.NewTwin(nave.ID{Device: "d"})
	body := mustDoc(t, `{"$version":7,"$metadata":{"$lastUpdated":"x"},"a":1}`)
	c := apply(t, twin, nave.Patch{Desired: body})
	if got := string(c.AppendNotification(nil)); got != `{"a":1,"$version":2}` {
		t.Errorf("notification %s", got)
	}
	if len(body) != 3 {
		t.Error("the patch was modified")
	}
	if _, err := twin.Apply(nave.Patch{Desired: mustDoc(t, `{"b":{"$version":1}}`)}, noon, &limits); !errors.Is(err, fault.ArgumentInvalid) {
		t.Errorf("$version below the root: %v", err)
	}
}

func apply(t testing.TB, twin *nave.Twin, p nave.Patch) nave.Change {
	t.Helper()
	c, err := twin.Apply(p, noon, &limits)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestApplyVersionsAndTouch(t *testing.T) {
	twin := nave.NewTwin(nave.ID{Device: "d"})
	if _, err := twin.Apply(nave.Patch{Reported: nave.Doc{}, HasExpect: true}, noon, &limits); !errors.Is(err, fault.PreconditionFailed) {
		t.Errorf("expected version 0: %v", err)
	}
	apply(t, twin, nave.Patch{Reported: nave.Doc{}, HasExpect: true, Expect: 1})
	if twin.Reported.Version != 2 || twin.ETag != 1 {
		t.Errorf("an empty reported patch gave version %d, etag %d", twin.Reported.Version, twin.ETag)
	}
	still := limits
	still.TagsTouch = false
	c, err := twin.Apply(nave.Patch{Tags: mustDoc(t, `{"a":1}`)}, noon, &still)
	if err != nil || c.Desired != nil || twin.Desired.Version != 1 || twin.ETag != 2 {
		t.Errorf("tags without touch: %+v, %v", c, err)
	}
	c = apply(t, twin, nave.Patch{Tags: mustDoc(t, `{"a":null}`), Desired: mustDoc(t, `{"q":1}`)})
	if c.Version != 2 || twin.ETag != 3 || len(twin.Tags) != 0 {
		t.Errorf("tags with desired: %+v, etag %d", c, twin.ETag)
	}
}

func TestReplaceNamesWhatIsGone(t *testing.T) {
	twin := nave.NewTwin(nave.ID{Device: "d"})
	apply(t, twin, nave.Patch{Desired: mustDoc(t, `{"a":{"b":1,"c":{"d":1}},"e":{"f":1},"g":[1]}`), Tags: mustDoc(t, `{"t":1}`)})
	before := *twin
	c := apply(t, twin, nave.Patch{Replace: true, Desired: mustDoc(t, `{"a":{"b":2,"n":null},"e":5}`)})
	if got, want := string(c.AppendNotification(nil)), `{"a":{"b":2,"c":null},"e":5,"g":null,"$version":3}`; got != want {
		t.Errorf("notification %s, want %s", got, want)
	}
	if got := string(twin.Desired.Data.Append(nil)); got != `{"a":{"b":2},"e":5}` || len(twin.Tags) != 1 {
		t.Errorf("desired %s, tags %v", got, twin.Tags)
	}
	if got := string(before.Desired.Data.Append(nil)); got != `{"a":{"b":1,"c":{"d":1}},"e":{"f":1},"g":[1]}` {
		t.Errorf("a copy taken before changed to %s", got)
	}
}

func TestETags(t *testing.T) {
	for _, text := range []string{"AAAAAAAAAAI=", `"AAAAAAAAAAI="`, `W/"AAAAAAAAAAI="`} {
		if n, err := nave.ParseETag(text); n != 2 || err != nil {
			t.Errorf("%s: %d, %v", text, n, err)
		}
		if !nave.MatchETag(text, "AAAAAAAAAAI=") || nave.MatchETag(text, "AAAAAAAAAAM=") {
			t.Errorf("%s does not match as it should", text)
		}
	}
	for _, text := range []string{"", "*", `"*"`} {
		if !nave.MatchETag(text, "x") {
			t.Errorf("%q does not match", text)
		}
	}
	for _, text := range []string{"", "AAAA", "*", "AAAAAAAAAAI"} {
		if _, err := nave.ParseETag(text); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestMergeIsIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		twin := nave.NewTwin(nave.ID{Device: "d"})
		for i := range 3 {
			p := nave.Patch{Reported: drawDoc(0, true).Draw(t, "patch"), Replace: i == 1}
			if _, err := twin.Apply(p, noon, &limits); err != nil {
				t.Fatal(err)
			}
			once := *twin
			if _, err := twin.Apply(p, noon, &limits); err != nil {
				t.Fatal(err)
			}
			if !once.Reported.Data.Equal(twin.Reported.Data) || string(once.Reported.Meta.Append(nil)) != string(twin.Reported.Meta.Append(nil)) {
				t.Fatalf("the second time changed %s to %s", once.Reported.Data.Append(nil), twin.Reported.Data.Append(nil))
			}
		}
	})
}

// A device that applies notifications as merge patches must end up with what
// the hub holds.
func TestNotificationsReproduceDesired(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		twin, device := nave.NewTwin(nave.ID{Device: "d"}), nave.NewTwin(nave.ID{Device: "d"})
		for range 4 {
			p := nave.Patch{Desired: drawDoc(0, true).Draw(t, "patch"), Replace: rapid.Bool().Draw(t, "replace")}
			c, err := twin.Apply(p, noon, &limits)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := device.Apply(nave.Patch{Reported: c.Desired}, noon, &limits); err != nil {
				t.Fatal(err)
			}
			if !device.Reported.Data.Equal(twin.Desired.Data) {
				t.Fatalf("device has %s, hub %s", device.Reported.Data.Append(nil), twin.Desired.Data.Append(nil))
			}
		}
	})
}

func FuzzTwinPatch(f *testing.F) {
	for _, e := range examples {
		if e.body != "" {
			f.Add([]byte(e.body), e.kind == "put")
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, replace bool) {
		d, err := nave.ParseDoc(b)
		if err != nil {
			return
		}
		twin := nave.NewTwin(nave.ID{Device: "d"})
		apply(t, twin, nave.Patch{Desired: nave.Doc{"a": nave.Doc{"b": true}}})
		before := string(view(twin))
		if _, err := twin.Apply(nave.Patch{Desired: d, Replace: replace}, noon, &limits); err != nil {
			if string(view(twin)) != before {
				t.Fatalf("refused with %v, but changed to %s", err, view(twin))
			}
			return
		}
		if err := twin.Desired.Data.Check("desired"); err != nil {
			t.Fatalf("accepted what breaks a rule: %v", err)
		}
		if _, err := nave.ParseDoc(twin.AppendDevice(nil)); err != nil {
			t.Fatal(err)
		}
		m, err := nave.ParseMeta(twin.Desired.Meta.Append(nil))
		if err != nil || string(m.Append(nil)) != string(twin.Desired.Meta.Append(nil)) {
			t.Fatalf("metadata %s: %v", twin.Desired.Meta.Append(nil), err)
		}
	})
}

func view(twin *nave.Twin) []byte {
	v := nave.TwinView{Twin: twin, Identity: &nave.Identity{ID: twin.ID}}
	return v.Append(nil)
}
