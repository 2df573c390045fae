'use strict';

const assert = require('node:assert/strict');
const { Message } = require('azure-iot-device');
const { NoRetry } = require('azure-iot-common');
const { make, open } = require('./client');

const text = (e) => Buffer.from(e.body, 'base64').toString();

module.exports = (transport) => ({
  async 'telemetry one message'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    const result = await client.sendEvent(new Message('{"t":21.5}'));
    assert.equal(result.constructor.name, 'MessageEnqueued');
    const [e] = await t.ask('events', { id: d.id, n: 1 });
    assert.equal(text(e), '{"t":21.5}');
    assert.deepEqual(e.app, {});
  },

  async 'telemetry properties arrive exactly'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    const m = new Message(Buffer.from([0, 1, 2, 253, 254, 255]));
    const app = { plain: 'value', 'with space': 'a b  c', 'sign/&=?%+#$': '100 %/&=?+#$', empty: '', 'ümläut': 'größe €', '文': '温度' };
    Object.entries(app).forEach(([k, v]) => m.properties.add(k, v));
    const user = /^Amqp/.test(transport.name) ? {} : { userId: 'u 3' }; // the SDK does not send it over AMQP
    Object.assign(m, { messageId: 'm-1', correlationId: 'c:2+', ...user, contentType: 'application/json; charset=utf-8',
      contentEncoding: 'utf-8' });
    await client.sendEvent(m);
    const [e] = await t.ask('events', { id: d.id, n: 1 });
    assert.equal(e.body, Buffer.from([0, 1, 2, 253, 254, 255]).toString('base64'));
    assert.deepEqual(e.app, app);
    assert.deepEqual(e.system, { messageId: 'm-1', correlationId: 'c:2+', ...user, contentType: m.contentType,
      contentEncoding: 'utf-8' });
    assert.equal(e.source, 'Telemetry');
    assert.match(e.auth, /"scope":"device","type":"sas"/);
  },

  async 'DEV-030 telemetry with a model id'(t) {
    const d = await t.device();
    const client = make(t, transport, d);
    await client.setOptions({ modelId: 'dtmi:com:example:Thermostat;1' });
    await client.open();
    await client.sendEvent(new Message('{}'));
    assert.equal((await t.ask('events', { id: d.id, n: 1 }))[0].model, 'dtmi:com:example:Thermostat;1');
    assert.equal((await t.ask('twin', { id: d.id })).modelId, 'dtmi:com:example:Thermostat;1');
  },

  async 'telemetry empty body'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    await client.sendEvent(new Message(''));
    assert.equal((await t.ask('events', { id: d.id, n: 1 }))[0].body, '');
  },

  async 'telemetry 300 at once keep their order'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    await Promise.all(Array.from({ length: 300 }, (_, n) => client.sendEvent(new Message(String(n)))));
    await client.sendEvent(new Message('end'));
    const events = await t.ask('events', { id: d.id, n: 301 });
    assert.deepEqual(events.map(text), [...Array.from({ length: 300 }, (_, n) => String(n)), 'end']);
  },

  async 'telemetry 255 KiB pass'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    const body = Buffer.alloc(255 * 1024, 'x');
    await client.sendEvent(new Message(body));
    assert.equal((await t.ask('events', { id: d.id, n: 1 }))[0].body, body.toString('base64'));
  },

  async 'telemetry over 256 KiB is refused and changes nothing'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    client.setRetryPolicy(new NoRetry());
    await assert.rejects(client.sendEvent(new Message(Buffer.alloc(256 * 1024 + 1))), { name: 'MessageTooLargeError' });
    const m = new Message(Buffer.alloc(256 * 1024 - 100));
    m.properties.add('name', 'v'.repeat(200));
    // The SDK doesn't count properties, so this one reaches the hub, which closes the connection.
    await assert.rejects(client.sendEvent(m));
    const second = await open(t, transport, d);
    await second.sendEvent(new Message('after'));
    assert.deepEqual((await t.ask('events', { id: d.id, n: 1 })).map(text), ['after']);
  },
});
