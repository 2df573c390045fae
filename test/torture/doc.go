// Command torture is "make torture": it kills a real hub with SIGKILL under
// load, again and again, restarts it and compares what it holds with what it
// had acknowledged. Then it does the same with a full disk and with failing
// syncs. It exits with 1 when anything acknowledged is lost, stored twice or
// changed, and keeps the data folder as evidence.
//
// The ledger is what clients know: a device keeps its telemetry by connection
// in the order of sending and how much of it was acknowledged, its twin as the
// patches it has sent, the commands it has received; the back end keeps
// registrations, desired properties and commands. Control devices post feed
// data over HTTPS, one by one and in batches, and over MQTT, and keep what was
// answered; after each start the history has each of it once, the log of events
// at least once, and what is sent again is not stored again. Carriers change the
// status of SIMs by tasks of hundreds; after each start every task ends with the
// outcome that each SIM must have, and the history of a SIM has each change once.
// Work that was under way when
// the hub died is unknown until the next check settles it: it may have
// happened or not, but not half.
package main
