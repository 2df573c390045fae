package hub

import "github.com/nave-hub/nave/internal/gate"

// Operations returns the names of the operations that the gate decides here.
func Operations() (names []string) {
	for _, op := range []*gate.Op{
		&opConnect, &opSend, &opEvents,
		&opEnqueue, &opPurge, &opPoll, &opDeliver, &opSettle, &opFeedback,
		&opInvoke, &opTwin, &opPatchTwin, &opOwnTwin, &opReport, &opDesired,
		&opRead, &opList, &opWrite, &opDelete, &opRotate, &opCount, &opBulk,
		&opGroups, &opGroupWrite,
	} {
		names = append(names, op.Name)
	}
	return names
}
