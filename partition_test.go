package nave_test

import (
	"testing"

	"github.com/nave-hub/nave"
)

func TestPartitionVectors(t *testing.T) {
	vectors := map[string][4]int{
		"d1": {1, 2, 4, 18}, "device1": {1, 2, 4, 18}, "myDeviceId": {1, 2, 5, 20},
		"sensor-0001": {1, 2, 4, 17}, "edge1": {0, 0, 1, 4}, "thermostat-kitchen-01": {1, 2, 5, 20},
		"a": {0, 1, 2, 9}, "abcdefghijkl": {1, 2, 5, 22}, "abcdefghijklm": {0, 0, 0, 1},
	}
	for id, want := range vectors {
		for i, count := range []int{2, 4, 8, 32} {
			if got := nave.Partition(id, count); got != want[i] {
				t.Errorf("Partition(%q, %d) = %d, want %d", id, count, got, want[i])
			}
		}
	}
}
