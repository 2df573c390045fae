// Package fault is the catalogue of every error the product can answer with.
//
// A Code is one declaration: number, name, HTTP status, AMQP condition, what an MQTT client sees, whether a
// retry helps, why it happens and how to remove it. It is a sentinel too: errors.Is(err, fault.DeviceNotFound).
// Code.New, Wrap and Over make an occurrence, an *Error, where the cause is known. A surface hands whatever
// error reaches it to From and encodes the result; the cause stays in the log. Find, ByName and Lookup serve
// "nave explain", injection and diagnosis. The generated page docs/errors.md prints All.
//
// The package knows no wire format: how a code becomes bytes is the business of each surface.
//
// Sources: the published code lists (testdata/*.csv), service-api 7, hub-semantics 2.4 and 20,
// device-protocols 0.4, 1.5 and 3.11, dps 5, iot-v1 9 and 10, connectivity-api 4 and 12.
package fault
