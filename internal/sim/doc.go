// Package sim is the domain of the connectivity API: SIMs and other products
// of connectivity platforms, their life cycle, usage, data sessions, short
// messages and links to devices of the hub.
//
// One Service serves a process. Each of its tenants is a hub; a Tenant owns
// platform accounts, each behind an adapter (Platform): the life-cycle engine
// inside the hub, or a remote platform. Callers work through an Access, which
// Tenant.As binds to whoever calls. Lists are answered from the product index
// in the store, single products of remote platforms from the platform.
//
// Work that outlives a call (asynchronous changes, tasks, timers) is stored and
// carried out by a worker of each node; rows are leased, so that no two nodes
// do the same. Events are written in the transaction of the change and brought
// to the hub's event log afterwards.
//
// The contract is connectivity-api; numbers such as RP-8 are its rules.
package sim
