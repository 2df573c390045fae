package main

import (
	"slices"
	"testing"
)

func TestTargets(t *testing.T) {
	all, err := targets("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{".", "./internal/amqp", "./internal/mqtt", "./internal/cred", "./internal/hubmqtt", "./internal/hubhttp"} {
		if !slices.ContainsFunc(all, func(have target) bool { return have.pkg == want }) {
			t.Errorf("no target in %s among %v", want, all)
		}
	}
	for i := 1; i < len(all); i++ {
		if all[i] == all[i-1] {
			t.Errorf("%s stands twice", all[i])
		}
	}
}
