// Package gate decides whether an operation may begin. Every operation of
// every surface is declared as an Op, and calls Enter once before it does
// anything and Charge once after it has succeeded; nothing else in the hub
// knows about rights, tiers, quotas, rates or injected faults.
//
// Enter asks, in this order: has the caller the right (401002), does the tier
// have the feature (403010), does the hub serve at all (403001), does an
// injected rule want this operation to fail, is the daily message quota used
// up (403002), and does the rate allow it now (429001, 429002, 429003, 429005).
// The first refusal is the answer; a refused operation is never charged. Only
// the last step can take time: excess over a rate is worked off in order of
// arrival, and the caller sees latency.
//
// A Gate is made by New, which reads the usage of the current day, and lives
// until Close or the end of New's context; one goroutine writes usage to the
// store every second. All methods may be called from any goroutine.
//
// The package proves nobody's identity: credentials, audiences and expiry have
// been checked by whoever made the nave.Principal.
//
// Figures follow hub-semantics sections 1, 2 and 18, and service-api 1.6 and
// 6.3. DESIGN.md argues the decisions.
package gate
