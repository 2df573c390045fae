package cred_test

import (
	"bytes"
	"testing"

	"github.com/nave-hub/nave/internal/cred"
)

func count(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func TestSegments(t *testing.T) {
	for size, controls := range map[int]string{
		1: "\xc0", 2: "\x80\xc1", 469: "\x80\xc1", 470: "\x80\xc1", 938: "\x80\xc1", 939: "\x80\x81\xc2", 64 * 469: "",
	} {
		all, err := cred.Segments(count(size))
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for _, s := range all {
			got = append(got, s[0])
			if len(s) > cred.MaxSegment {
				t.Errorf("%d bytes: a segment of %d", size, len(s))
			}
		}
		if controls != "" && string(got) != controls {
			t.Errorf("%d bytes: % x", size, got)
		}
	}
	for _, size := range []int{0, 64*469 + 1} {
		if _, err := cred.Segments(count(size)); cred.ProblemOf(err) == "" {
			t.Errorf("%d bytes pass", size)
		}
	}
	t.Run("two segments for a blob", func(t *testing.T) {
		all, err := cred.Segments(count(850))
		if err != nil || len(all) != 2 || all[0][0] != 0x80 || all[1][0] != 0xc1 || len(all[0]) != 470 || len(all[1]) != 850-469+1 {
			t.Error(len(all), err)
		}
	})
}

func TestReassembly(t *testing.T) {
	for name, c := range map[string]struct {
		in   []string
		want string
		bad  bool
	}{
		"whole":               {[]string{"\x00abc"}, "abc", false},
		"nothing":             {[]string{"\x00"}, "", false},
		"two":                 {[]string{"\x80ab", "\xc1c"}, "abc", false},
		"one, marked":         {[]string{"\xc0abc"}, "abc", false},
		"three":               {[]string{"\x80a", "\x81b", "\xc2c"}, "abc", false},
		"without control":     {[]string{""}, "", true},
		"plain control":       {[]string{"a"}, "", true},
		"last alone":          {[]string{"\x40a"}, "", true},
		"starts at 1":         {[]string{"\x81a"}, "", true},
		"gap":                 {[]string{"\x80a", "\xc2b"}, "", true},
		"again":               {[]string{"\x80a", "\x80b"}, "", true},
		"whole in between":    {[]string{"\x80a", "\x00b"}, "", true},
		"behind the last":     {[]string{"\x80a", "\xc1b", "\xc2c"}, "", true},
		"behind the whole":    {[]string{"\x00a", "\x00b"}, "", true},
		"more than the limit": {[]string{"\x80" + string(count(4000)), "\xc1" + string(count(97))}, "", true},
	} {
		var r cred.Reassembly
		var last bool
		var err error
		for i, s := range c.in {
			if last, err = r.Add([]byte(s)); last != (err == nil && (i == len(c.in)-1 || c.bad && s[0]&0x40 != 0 || s[0] == 0)) {
				t.Errorf("%s: last %v at %d", name, last, i)
			}
		}
		if c.bad != (err != nil) || c.bad && cred.ProblemOf(err) == "" || !c.bad && string(r.Data()) != c.want {
			t.Errorf("%s: %q %v", name, r.Data(), err)
		}
		r.Reset()
		if last, err := r.Add([]byte{0, 'x'}); !last || err != nil || string(r.Data()) != "x" {
			t.Errorf("%s: after Reset %v %v", name, last, err)
		}
	}
	var r cred.Reassembly
	for i := range 63 {
		if last, err := r.Add([]byte{byte(0x80 | i), 'x'}); last || err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := r.Add([]byte{0xbf, 'x'}); cred.ProblemOf(err) == "" {
		t.Error("more than 64 segments")
	}
}

func TestTPMInit(t *testing.T) {
	t.Run("a split beginning", func(t *testing.T) {
		ek := endorsement(tpmPair().ek)
		var r cred.Reassembly
		all, err := cred.Segments(cred.AppendTPMInit(nil, "0ne00000001", string(bytes.Repeat([]byte{'r'}, 128)), ek))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if _, err := r.Add(s); err != nil {
				t.Fatal(err)
			}
		}
		scope, id, got, err := cred.ParseTPMInit(r.Data())
		if err != nil || scope != "0ne00000001" || len(id) != 128 || !bytes.Equal(got, ek) {
			t.Error(scope, id, err)
		}
	})
	for _, s := range []string{"", "a", "a\x00b", "a\x00b\x00", "\x00b\x00c", "a\x00\x00c", string(make([]byte, 9)), string(bytes.Repeat([]byte{'a'}, 257)) + "\x00b\x00c"} {
		if _, _, _, err := cred.ParseTPMInit([]byte(s)); cred.ProblemOf(err) != cred.ProblemMalformed {
			t.Errorf("%.20q: %v", s, err)
		}
	}
}

// FuzzReassembly reads texts of at most 255 bytes, each behind its length.
func FuzzReassembly(f *testing.F) {
	f.Add([]byte("\x04\x80s\x00r\x05\xc1\x00abc"))
	f.Add([]byte("\x06\x00s\x00r\x00e"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r cred.Reassembly
		total, over := 0, false
		for len(b) > 0 {
			n := min(int(b[0]), len(b)-1)
			last, err := r.Add(b[1 : 1+n])
			b = b[1+n:]
			if err != nil {
				if last || cred.ProblemOf(err) == "" {
					t.Fatal(last, err)
				}
				continue
			}
			if over {
				t.Fatal("data behind the last segment")
			}
			total, over = total+n-1, last
		}
		if len(r.Data()) != total || total > 4096 {
			t.Fatal(len(r.Data()), total)
		}
		scope, id, ek, err := cred.ParseTPMInit(r.Data())
		if err == nil && !bytes.Equal(cred.AppendTPMInit(nil, scope, id, ek), r.Data()) {
			t.Fatal("another beginning")
		}
		if all, err := cred.Segments(r.Data()); err == nil {
			var again cred.Reassembly
			for i, s := range all {
				if last, err := again.Add(s); err != nil || last != (i == len(all)-1) {
					t.Fatal(i, err)
				}
			}
			if !bytes.Equal(again.Data(), r.Data()) {
				t.Fatal("other data")
			}
		}
	})
}
