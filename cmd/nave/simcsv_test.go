package main

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
)

func TestParseSIMs(t *testing.T) {
	rows, wrong, err := parseSIMs(strings.NewReader("\xef\xbb\xbf Offering\tICCID \r\noff-1\t8900101000000000019\r\n\r\n\"off-\n2\"\t8900101000000000035\r\noff-2\t8900101000000000027\r\n"))
	if err != nil || len(rows) != 2 || rows[0] != (simRow{line: 2, ICCID: "8900101000000000019", Offering: "off-1"}) || rows[1].line != 6 {
		t.Errorf("%+v, %v", rows, err)
	}
	if len(wrong) != 1 || wrong[0].Line != 4 || !strings.Contains(wrong[0].Text, "offering is") {
		t.Errorf("%+v", wrong)
	}
	for text, want := range map[string]string{
		"":                       "the file is empty",
		"iccid,iccid\n":          "twice",
		"iccid\n\"89":            "line 2",
		"<html>\n":               "no column",
		"iccid,IMSI,msisdnn\n,,": `"msisdnn"`,
	} {
		if _, _, err := parseSIMs(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestReadNames(t *testing.T) {
	const one, two = "8900101000000000019", "8900101000000000027"
	for text, want := range map[string]string{
		one + "\n\n# no\n HUBSIM-" + two + "\n":                            one + " HUBSIM-" + two,
		"\xef\xbb\xbfImsi;ICCID\r\n;" + one + "\r\n001010000000001;" + two: one + " " + two,
		"iccid\n" + one + "\n12\n":                                         "line 3",
		"iccid,imsi\n,001010000000001\n":                                   "line 2",
		"iccid\n":                                                          "names no SIM",
	} {
		names, err := (&env{in: strings.NewReader(text)}).readNames("-")
		got := strings.Join(names, " ")
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// FuzzCSV holds that a row which is taken obeys every form, that what is written
// from rows is read again as the same, and that nothing panics.
func FuzzCSV(f *testing.F) {
	for _, text := range []string{"iccid,imsi,msisdn,imei,eid,offering\n8900101000000000019,001010000000001,999000000001,350000000000006,89049032000000000000000000000001,off-1\n",
		"iccid;imsi\n8900101000000000019;\n;001010000000001\n", "\xef\xbb\xbfICCID\r\n\"8900101000000000019\"\r\n", "iccid\n8.9E+18\n", "offering\n\"a\nb\"\n", "iccid\timsi\n\t\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		rows, wrong, err := parseSIMs(bytes.NewReader(text))
		if err != nil {
			if rows != nil || wrong != nil {
				t.Fatal("rows of a file that is none")
			}
			return
		}
		var again bytes.Buffer
		w := csv.NewWriter(&again)
		head := make([]string, len(simColumns))
		for n, c := range simColumns {
			head[n] = c.name
		}
		w.Write(head)
		for n := range rows {
			fields := make([]string, len(simColumns))
			for i, c := range simColumns {
				if fields[i] = *c.field(&rows[n]); fields[i] != "" && !c.valid.MatchString(fields[i]) {
					t.Fatalf("line %d was taken with %s %q", rows[n].line, c.name, fields[i])
				}
			}
			w.Write(fields)
		}
		w.Flush()
		back, wrong, err := parseSIMs(&again)
		if err != nil || len(wrong) > 0 || len(back) != len(rows) {
			t.Fatalf("%d rows, then %d, %v, %v", len(rows), len(back), wrong, err)
		}
		for n := range back {
			if back[n].line = rows[n].line; back[n] != rows[n] {
				t.Fatalf("%+v, then %+v", rows[n], back[n])
			}
		}
	})
}
