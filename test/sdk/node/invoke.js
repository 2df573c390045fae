'use strict';

const assert = require('node:assert/strict');
const service = require('azure-iothub');
const { Mqtt } = require('azure-iot-device-mqtt');
const { NoRetry } = require('azure-iot-common');
const { open } = require('./client');

// caller returns a service client that is never opened: methods go over REST.
function caller(t) {
  const c = service.Client.fromConnectionString(`HostName=${t.hub.host};SharedAccessKeyName=service;SharedAccessKey=${t.hub.serviceKey}`);
  c.setRetryPolicy(new NoRetry());
  return c;
}

module.exports = {
  async 'invokeDeviceMethod answers'(t) {
    const d = await t.device();
    const client = await open(t, Mqtt, d);
    client.onDeviceMethod('echo', (request, response) => response.send(299, { got: request.payload }));
    const { result } = await caller(t).invokeDeviceMethod(d.id, { methodName: 'echo', payload: { a: 1 }, connectTimeoutInSeconds: 60, responseTimeoutInSeconds: 60 });
    assert.deepEqual(result, { status: 299, payload: { got: { a: 1 } } });
  },

  async 'invokeDeviceMethod null payload'(t) {
    const d = await t.device();
    const client = await open(t, Mqtt, d);
    client.onDeviceMethod('echo', (request, response) => response.send(200));
    const { result } = await caller(t).invokeDeviceMethod(d.id, { methodName: 'echo', connectTimeoutInSeconds: 60 });
    assert.deepEqual(result, { status: 200, payload: null });
  },

  async 'invokeDeviceMethod on a module'(t) {
    const d = await t.device({ module: 'm' });
    const client = await open(t, Mqtt, d);
    client.onMethod('echo', (request, response) => response.send(200, request.payload));
    const { result } = await caller(t).invokeDeviceMethod(d.id, 'm', { methodName: 'echo', payload: 'x', connectTimeoutInSeconds: 60 });
    assert.deepEqual(result, { status: 200, payload: 'x' });
  },

  async 'invokeDeviceMethod offline is 404103'(t) {
    const d = await t.device();
    await assert.rejects(caller(t).invokeDeviceMethod(d.id, { methodName: 'echo' }), (e) => {
      assert.equal(e.response.statusCode, 404);
      assert.match(e.responseBody, /404103/);
      return true;
    });
  },

  async 'invokeDeviceMethod unknown device is 404'(t) {
    await assert.rejects(caller(t).invokeDeviceMethod('none', { methodName: 'echo' }), (e) => {
      assert.equal(e.response.statusCode, 404);
      assert.match(e.responseBody, /404001/);
      return true;
    });
  },

  async 'SVC-141 invokeDeviceMethod time-out is GatewayTimeoutError'(t) {
    const d = await t.device();
    const client = await open(t, Mqtt, d);
    client.onDeviceMethod('mute', () => {});
    await assert.rejects(caller(t).invokeDeviceMethod(d.id, { methodName: 'mute', connectTimeoutInSeconds: 60, responseTimeoutInSeconds: 5 }),
      { name: 'GatewayTimeoutError' });
  },

  async 'invokeDeviceMethod bad name or time is ArgumentError'(t) {
    const d = await t.device();
    await assert.rejects(caller(t).invokeDeviceMethod(d.id, { methodName: 'a b' }), { name: 'ArgumentError' });
    await assert.rejects(caller(t).invokeDeviceMethod(d.id, { methodName: 'a', responseTimeoutInSeconds: 1 }), { name: 'ArgumentError' });
  },
};
