package node

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// checkNames refuses names in a configuration that are no settings, saying which
// one may be meant. v is what stands at the place called at, t what belongs there.
func checkNames(v any, t reflect.Type, at string) error {
	switch {
	case v == nil:
		return nil // a section without content
	case t.Kind() == reflect.Slice:
		list, _ := v.([]any)
		for n, item := range list {
			if err := checkNames(item, t.Elem(), fmt.Sprintf("%s[%d]", at, n)); err != nil {
				return err
			}
		}
		return nil
	case t.Kind() != reflect.Struct:
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%s is %v, expected are settings below it: %s", at, v, strings.Join(fieldNames(t), ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		below := strings.TrimPrefix(at+"."+name, ".")
		f, ok := fieldNamed(t, name)
		if !ok {
			return unknownSetting(below, t)
		}
		if err := checkNames(m[name], f.Type, below); err != nil {
			return err
		}
	}
	return nil
}

func fieldNamed(t reflect.Type, name string) (f reflect.StructField, ok bool) {
	for n := range t.NumField() {
		if f = t.Field(n); f.Tag.Get("koanf") == name {
			return f, true
		}
	}
	return f, false
}

func fieldNames(t reflect.Type) (names []string) {
	for n := range t.NumField() {
		names = append(names, t.Field(n).Tag.Get("koanf"))
	}
	return names
}

func unknownSetting(name string, t reflect.Type) error {
	all := fieldNames(t)
	prefix := name[:strings.LastIndexByte(name, '.')+1]
	for n := range all {
		all[n] = prefix + all[n]
	}
	for _, s := range Settings() {
		all = append(all, s.Name)
	}
	if near := nearest(name, all); near != "" {
		return fmt.Errorf("there is no setting %s, did you mean %s? docs/config.md lists every setting", name, near)
	}
	return fmt.Errorf("there is no setting %s, known there are %s; docs/config.md lists every setting", name, strings.Join(fieldNames(t), ", "))
}

// nearest returns the name that was probably meant, "" when none is similar. Of
// equally near ones the first wins.
func nearest(name string, all []string) (best string) {
	limit := max(2, len(name)/4) + 1
	for _, candidate := range all {
		if d := distance(strings.ToLower(name), strings.ToLower(candidate)); d < limit {
			best, limit = candidate, d
		}
	}
	return best
}

// distance counts the letters that must be inserted, removed or replaced.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
