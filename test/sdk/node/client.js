// Clients of the device SDK that end with their case.
'use strict';

const { Client, ModuleClient } = require('azure-iot-device');
const { NoRetry } = require('azure-iot-common');

// make returns a client of the device that is not open yet.
function make(t, transport, device, connection = device.connection()) {
  const client = (device.module ? ModuleClient : Client).fromConnectionString(connection, transport);
  t.after(() => client.close());
  return client;
}

// identify sets the certificate of a device that has one.
function identify(client, transport, device) {
  if (!device.cert) {
    return undefined;
  }
  const done = client.setOptions({ cert: device.cert, key: device.certKey });
  // The SDK's HTTPS transport never ends setOptions, though it obeys it.
  return transport.name === 'Http' ? undefined : done;
}

// open returns an open client of the device.
async function open(t, transport, device, connection) {
  const client = make(t, transport, device, connection);
  await identify(client, transport, device);
  await client.open();
  return client;
}

// refused opens a client once and returns the error; it is an error to succeed.
async function refused(t, transport, device, connection) {
  const client = make(t, transport, device, connection);
  client.setRetryPolicy(new NoRetry());
  await identify(client, transport, device);
  return refusal(client, transport);
}

// refusal returns why an operation that needs a connection fails. HTTPS has no
// connection, and one of AMQP with a certificate has not named a device, so there
// the first message is refused.
async function refusal(client, transport) {
  const { Message } = require('azure-iot-device');
  try {
    await client.open();
    if (/^Http|^Amqp/.test(transport.name)) {
      await client.sendEvent(new Message('x'));
    }
  } catch (e) {
    return e;
  }
  throw new Error('the hub let the client in');
}

// next returns the first argument of the next event. The listener stays: with the
// last one the SDK gives up the link over which a message would be settled.
const next = (emitter, name) => new Promise((resolve) => { emitter.on(name, resolve); });

module.exports = { make, open, refused, refusal, next };
