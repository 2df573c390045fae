// The life of devices that are provisioned, over one transport.
'use strict';

const assert = require('node:assert/strict');
const { Message } = require('azure-iot-device');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { NoRetry } = require('azure-iot-common');
const enrol = require('./enrol');

const pairs = {
  http: () => [require('azure-iot-provisioning-device-http').Http, require('azure-iot-device-http').Http],
  mqtt: () => [require('azure-iot-provisioning-device-mqtt').Mqtt, require('azure-iot-device-mqtt').Mqtt],
  mqttws: () => [require('azure-iot-provisioning-device-mqtt').MqttWs, require('azure-iot-device-mqtt').MqttWs],
  amqp: () => [require('azure-iot-provisioning-device-amqp').Amqp, require('azure-iot-device-amqp').Amqp],
  amqpws: () => [require('azure-iot-provisioning-device-amqp').AmqpWs, require('azure-iot-device-amqp').AmqpWs],
};

// registration returns a client that registers a device once.
const registration = (t, Transport, device, scope = t.hub.scope) =>
  ProvisioningDeviceClient.create(t.hub.dps, scope, new Transport(), device.security());

// register returns the state of the registration, which clients with a TPM wrap
// in the operation.
async function register(t, Transport, device) {
  const result = await registration(t, Transport, device).register();
  return result.registrationState || result;
}

// refused registers and returns the error.
async function refused(client) {
  let result;
  try {
    result = await client.register();
  } catch (e) {
    return e;
  }
  throw new Error(`the device was let in: ${JSON.stringify(result)}`);
}

// judgeError checks the error of a client: over HTTPS and MQTT the SDK makes one
// with a name, over AMQP it hands on what the service said.
function judgeError(e, Transport, name, code) {
  if (/^Amqp/.test(Transport.name)) {
    assert.equal(JSON.parse(e.description).errorCode, code, String(e));
  } else {
    assert.equal(e.name, name, String(e.stack));
  }
}

const unauthorized = (e, Transport) => judgeError(e, Transport, 'UnauthorizedError', 401002);

// opened connects a device to the hub it was assigned to.
async function opened(t, HubTransport, device, host) {
  const client = device.client(host, HubTransport);
  client.setRetryPolicy(new NoRetry());
  t.after(() => client.close());
  if (device.cert) {
    const done = client.setOptions({ cert: device.cert, key: device.certKey });
    if (HubTransport.name !== 'Http') { // whose setOptions never ends
      await done;
    }
  }
  await client.open();
  return client;
}

// sends has a device connect to its hub and send telemetry, which arrives.
async function sends(t, HubTransport, device, host, n = 1) {
  const client = await opened(t, HubTransport, device, host);
  if (HubTransport.name !== 'Http') {
    assert.equal((await client.getTwin()).properties.desired.testProp, t.messageId);
  }
  await client.sendEvent(new Message(`telemetry ${n}`));
  const events = await t.ask('events', { hub: host, id: device.deviceId, n });
  assert.equal(Buffer.from(events[n - 1].body, 'base64').toString(), `telemetry ${n}`);
  return client;
}

// judge compares what a device was told with what is at the hub and in the
// service.
async function judge(t, device, state) {
  assert.equal(state.status, 'assigned');
  assert.equal(state.substatus, 'initialAssignment');
  assert.equal(state.registrationId, device.id);
  assert.equal(state.deviceId, device.deviceId);
  assert.ok([t.hub.host, t.hub.second].includes(state.assignedHub), state.assignedHub);
  assert.ok(Date.parse(state.createdDateTimeUtc) <= Date.parse(state.lastUpdatedDateTimeUtc));
  const at = { hub: state.assignedHub, id: device.deviceId };
  const identity = await t.ask('identity', at);
  for (const [name, want] of Object.entries(device.hub)) {
    assert.equal(identity[name], want, name);
  }
  const twin = await t.ask('twin', at);
  assert.equal(twin.properties.desired.testProp, t.messageId);
  assert.deepEqual(twin.tags, enrol.twin(t).tags);
  const stored = (await enrol.service(t).getDeviceRegistrationState(device.id)).responseBody;
  for (const name of ['registrationId', 'assignedHub', 'deviceId', 'status', 'etag', 'createdDateTimeUtc']) {
    assert.equal(stored[name], state[name], name);
  }
}

// life takes a device through everything: registered, connected, registered
// again, disabled, deleted.
const life = ([Transport, HubTransport], make, gone = unauthorized) => async (t) => {
  const device = await make(t);
  const state = await register(t, Transport, device);
  await judge(t, device, state);
  await (await sends(t, HubTransport, device, state.assignedHub)).close();
  const again = await register(t, Transport, device);
  assert.deepEqual([again.assignedHub, again.deviceId, again.createdDateTimeUtc], [state.assignedHub, state.deviceId, state.createdDateTimeUtc]);
  await device.disable();
  const e = await refused(registration(t, Transport, device));
  assert.match(String(e), /status is disabled/);
  assert.equal(e.result.registrationState.status, 'disabled');
  await device.remove();
  gone(await refused(registration(t, Transport, device)), Transport);
};

// wrong takes a device whose proof is changed, which no transport lets in.
const wrong = ([Transport], change) => async (t) => {
  const device = await enrol.symmetric(t);
  unauthorized(await refused(registration(t, Transport, change(device))), Transport);
};

const strange = Buffer.alloc(64, 9).toString('base64');

const key = (pair) => ({
  'DPS-276 symmetric key, individual': life(pair, enrol.symmetric),
  'DPS-276 symmetric key, group': life(pair, enrol.symmetricGroup),
  'DPS-276 wrong key': wrong(pair, (d) => enrol.byKey(d.id, strange, d.deviceId)),
  'DPS-276 key of another device': wrong(pair, (d) => enrol.byKey(d.id, enrol.derived(d.key, 'other'), d.deviceId)),
  async 'DPS-276 the group\'s own key'(t) {
    const device = await enrol.symmetricGroup(t);
    unauthorized(await refused(registration(t, pair[0], enrol.byKey(device.id, device.groupKey, device.id))), pair[0]);
  },
  async 'DPS-276 unknown id scope'(t) {
    const device = await enrol.symmetric(t);
    const e = await refused(registration(t, pair[0], device, '0neFFFFFFFF'));
    assert.match(`${e.name} ${e.message} ${e.responseBody}`, unknownScope[pair[0].name]);
  },
});

// unknownScope is what the SDK makes of HTTP status 404, of CONNACK 5, and of a
// SASL outcome that is not OK.
const unknownScope = {
  Http: /Not found .*"errorCode":404/,
  Mqtt: /Connection refused: Not authorized/,
  MqttWs: /Connection refused: Not authorized/,
  Amqp: /NotConnectedError/,
  AmqpWs: /NotConnectedError/,
};

const cert = (pair) => ({
  'DPS-276 X.509, individual': life(pair, enrol.x509),
  'DPS-276 X.509, group, two intermediates below the root': life(pair, enrol.x509Group),
  async 'DPS-276 X.509, group of an intermediate'(t) {
    const device = await enrol.x509Below(t);
    const state = await register(t, pair[0], device);
    await judge(t, device, state);
    await sends(t, pair[1], device, state.assignedHub);
  },
  async 'DPS-276 X.509, another certificate'(t) {
    const device = await enrol.x509(t);
    const made = await t.ask('selfSigned', { id: device.id });
    const { X509Security } = require('azure-iot-security-x509');
    device.security = () => new X509Security(device.id, { cert: made.cert, key: made.key });
    unauthorized(await refused(registration(t, pair[0], device)), pair[0]);
  },
});

module.exports = { pairs, registration, register, refused, judgeError, sends, life, key, cert };
