// Package control is the domain of iot/v1, the contract for firmware: control
// devices with commands and sensors, desired states and their life, feed data
// with its idempotency, plans, subscriptions, MQTT credentials. It knows no
// transport: HTTPS and MQTT parse a body with ParseItem, ParsePublish or
// ParseBatch and hand the items to the same Device.Feed.
//
// A Control serves one hub. Open starts it behind the hub, whose event log it
// feeds; Close ends it before the hub. A Device is a snapshot of a control
// device bound to its Control: Find keeps snapshots for a second, and drops
// them with the commit that changes them.
//
// # Accepted means on disk
//
// An item is accepted by one transaction of the store: its idempotency key, its
// history row, the reported state, the fate of a desired state. The answer
// follows the commit, and that commit is the truth: whoever sends the same
// message id again gets its result.
//
// The same commit makes the item owed to the hub's event log. Item ids are
// reserved in blocks; the store knows below which id of a block the log has
// synced everything. An item is handed to the log before its answer goes out,
// in the order of the device's commits; that the log has synced it is not
// awaited, because nothing can be lost any more: what the log refuses is
// appended again in the background, and what it may have missed in a crash is
// appended by Open. The log therefore has every accepted item, after a crash
// some of the last second twice; the property feedDataId tells copies apart.
// The other order, log first, would let the log hold items that the store has
// refused, and a second event for each that is sent again.
//
// # Order of checks
//
// iot-v1 G-15 fixes the order. Steps 0 to 3 are a surface's; Find is 4;
// Device.Admit takes 5 to 9, Device.Take 10; 11 to 13 are a surface's; the Parse
// functions take 14 and 15, Device.Feed the rest. Every refusal is a fault of
// family fault.Control with Detail "reason" (iot-v1 9), or what the gate and the
// injected faults say.
//
// The contract is docs/spec/iot-v1.md.
package control
