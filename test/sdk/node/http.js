'use strict';

const assert = require('node:assert/strict');
const { Message } = require('azure-iot-device');
const { NoRetry } = require('azure-iot-common');
const { Http } = require('azure-iot-device-http');
const { open, next } = require('./client');
const telemetry = require('./telemetry')(Http);

const text = (e) => Buffer.from(e.body, 'base64').toString();
const b64 = (s) => Buffer.from(s).toString('base64');

// polling opens a client that asks for messages ten times a second.
async function polling(t, device) {
  const client = await open(t, Http, device);
  await client.setTransportOptions({ interval: 0.1 });
  return client;
}

module.exports = {
  'telemetry one message': telemetry['telemetry one message'],
  'telemetry empty body': telemetry['telemetry empty body'],
  'telemetry 255 KiB pass': telemetry['telemetry 255 KiB pass'],

  async 'telemetry properties arrive exactly'(t) {
    const d = await t.device();
    const client = await open(t, Http, d);
    const m = new Message(Buffer.from([0, 255, 10]));
    const app = { plain: 'value', blanks: 'a b  c', signs: '100 %/&=?+#$' };
    Object.entries(app).forEach(([k, v]) => m.properties.add(k, v));
    Object.assign(m, { messageId: 'm-1', correlationId: 'c:2+', userId: 'u 3', contentType: 'application/json', contentEncoding: 'utf-8' });
    await client.sendEvent(m);
    const [e] = await t.ask('events', { id: d.id, n: 1 });
    assert.equal(e.body, Buffer.from([0, 255, 10]).toString('base64'));
    assert.deepEqual(e.app, app);
    assert.deepEqual(e.system, { messageId: 'm-1', correlationId: 'c:2+', userId: 'u 3', contentType: 'application/json', contentEncoding: 'utf-8' });
  },

  async 'DEV-209 telemetry batch'(t) {
    const d = await t.device();
    const client = await open(t, Http, d);
    const batch = Array.from({ length: 50 }, (_, n) => {
      const m = new Message(`body ${n} ü`);
      m.properties.add('n', String(n));
      return m;
    });
    await client.sendEventBatch(batch);
    const events = await t.ask('events', { id: d.id, n: 50 });
    assert.deepEqual(events.map((e) => [text(e), e.app]), batch.map((m, n) => [`body ${n} ü`, { n: String(n) }]));
  },

  async 'telemetry over 256 KiB is refused and changes nothing'(t) {
    const d = await t.device();
    const client = await open(t, Http, d);
    client.setRetryPolicy(new NoRetry());
    await assert.rejects(client.sendEvent(new Message(Buffer.alloc(256 * 1024 + 1))), (e) => {
      assert.equal(e.response && e.response.statusCode, 413);
      return true;
    });
    await assert.rejects(client.sendEventBatch([new Message('small'), new Message(Buffer.alloc(300 * 1024))]));
    await client.sendEvent(new Message('after'));
    assert.deepEqual((await t.ask('events', { id: d.id, n: 1 })).map(text), ['after']);
  },

  'c2d with an empty body': async (t) => {
    const d = await t.device();
    const client = await polling(t, d);
    const came = next(client, 'message');
    await t.ask('c2d', { id: d.id, body: '', system: { messageId: 'e' } });
    const m = await came;
    assert.equal(m.messageId, 'e');
    await client.complete(m);
  },

  async 'c2d complete'(t) {
    const d = await t.device();
    const client = await polling(t, d);
    const came = next(client, 'message');
    await t.ask('c2d', { id: d.id, body: b64('hello'), app: { k: 'v 1', 'key-2': 'a=b' },
      system: { messageId: t.messageId, correlationId: 'c:1', userId: 'u', ack: 'full' } });
    const m = await came;
    assert.equal(m.getData().toString(), 'hello');
    // This transport keeps the prefix of the headers and passes over the user id.
    assert.equal(m.messageId, t.messageId);
    assert.equal(m.correlationId, 'c:1');
    assert.equal(m.properties.getValue('iothub-app-k'), 'v 1');
    assert.equal(m.properties.getValue('iothub-app-key-2'), 'a=b');
    assert.equal((await client.complete(m)).constructor.name, 'MessageCompleted');
    assert.equal((await t.ask('feedback', { id: d.id, message: t.messageId })).status, 'Success');
    await assert.rejects(client.complete(m), (e) => { assert.equal(e.response.statusCode, 412); return true; });
  },

  async 'c2d abandon, then complete'(t) {
    const d = await t.device();
    const client = await polling(t, d);
    const first = next(client, 'message');
    await t.ask('c2d', { id: d.id, body: b64('again'), system: { messageId: t.messageId, ack: 'full' } });
    const m = await first;
    const second = next(client, 'message');
    assert.equal((await client.abandon(m)).constructor.name, 'MessageAbandoned');
    const again = await second;
    assert.equal(again.messageId, t.messageId);
    assert.notEqual(again.lockToken, m.lockToken);
    await client.complete(again);
    assert.equal((await t.ask('feedback', { id: d.id, message: t.messageId })).status, 'Success');
  },

  async 'c2d reject'(t) {
    const d = await t.device();
    const client = await polling(t, d);
    const came = next(client, 'message');
    await t.ask('c2d', { id: d.id, body: b64('no'), system: { messageId: t.messageId, ack: 'full' } });
    assert.equal((await client.reject(await came)).constructor.name, 'MessageRejected');
    assert.equal((await t.ask('feedback', { id: d.id, message: t.messageId })).status, 'Rejected');
  },
};
