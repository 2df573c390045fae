package sim

import "github.com/nave-hub/nave/internal/gate"

// Operations returns the names of the operations that the gate decides here.
func Operations() (names []string) {
	for _, op := range []*gate.Op{&opList, &opRead, &opChange, &opBulk, &opMonitor, &opSMS, &opLink, &opPlatform, &opManage, &opImport} {
		names = append(names, op.Name)
	}
	return names
}
