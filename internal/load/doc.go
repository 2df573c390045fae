// Package load makes load: a generator that measures a hub or a plain MQTT broker, and a fleet of simulated devices. It is a client
// and nothing else: it speaks MQTT 3.1.1 and the service REST API as any device and back end would, and knows no server from inside.
//
// Telemetry has a loop of its own, because it shares the machine with the server it measures: the packets of a whole window are encoded
// once, packet identifier n for ever belongs to slot n, and one read and one write serve as many acknowledgements as have come.
// Everything else is built on mqtt.Client.
//
// Latencies of a closed loop are measured from the moment of sending. With a given rate (open loop) they are measured from the moment
// at which the packet was due, so that a server that stands still is charged for everything that had to wait.
package load
