'use strict';

const assert = require('node:assert/strict');
const { promisify } = require('node:util');
const { Message } = require('azure-iot-device');
const { open, next } = require('./client');

const text = (e) => Buffer.from(e.body, 'base64').toString();

module.exports = (transport) => ({
  async 'reconnect loses no message'(t) {
    const d = await t.device();
    const client = await open(t, transport, d, d.connection(t.hub.proxy));
    const sent = [];
    for (let round = 0; round < 3; round++) {
      const batch = Array.from({ length: 20 }, (_, n) => `${round}-${n}`);
      const acks = batch.map((b) => client.sendEvent(new Message(b)));
      await t.ask('cut');
      await Promise.all(acks);
      sent.push(...batch);
    }
    await client.sendEvent(new Message('end'));
    const events = new Set((await t.ask('eventsUntil', { id: d.id, body: Buffer.from('end').toString('base64') })).map(text));
    assert.deepEqual(sent.filter((b) => !events.has(b)), []);
  },

  async 'reconnect sends again what was not acknowledged'(t) {
    const d = await t.device();
    const client = await open(t, transport, d, d.connection(t.hub.proxy));
    await client.sendEvent(new Message('first'));
    await t.ask('hold');
    let acked = false;
    const ack = client.sendEvent(new Message('unacknowledged')).then(() => { acked = true; });
    await t.ask('events', { id: d.id, n: 2 });
    assert.equal(acked, false);
    await t.ask('cut');
    await ack;
    await client.sendEvent(new Message('end'));
    const events = await t.ask('eventsUntil', { id: d.id, body: Buffer.from('end').toString('base64') });
    assert.deepEqual(events.map(text), ['first', 'unacknowledged', 'unacknowledged', 'end']);
  },

  async 'reconnect keeps methods and twin'(t) {
    const d = await t.device();
    const client = await open(t, transport, d, d.connection(t.hub.proxy));
    client.onDeviceMethod('echo', (request, response) => response.send(200, request.payload));
    const twin = await client.getTwin();
    const seen = new Map();
    let look = () => {};
    twin.on('properties.desired', (p) => { seen.set(p.step, true); look(); });
    const step = (n) => new Promise((resolve) => { look = () => seen.has(n) && resolve(); look(); });
    const update = promisify(twin.properties.reported.update);
    await update({ n: 1 });
    await t.ask('patch', { id: d.id, patch: { properties: { desired: { step: 1 } } } });
    await step(1);
    const again = next(client, 'connect');
    await t.ask('cut');
    await again;
    assert.deepEqual(await t.ask('invoke', { id: d.id, method: 'echo', payload: 1, connect: 60 }), { status: 200, payload: 1 });
    await update({ n: 2 });
    await client.getTwin();
    await t.ask('patch', { id: d.id, patch: { properties: { desired: { step: 2 } } } });
    await step(2);
  },

  async 'reconnect delivers c2d that was not acknowledged'(t) {
    const d = await t.device();
    const client = await open(t, transport, d, d.connection(t.hub.proxy));
    // One listener for good: the SDK unsubscribes when the last one goes.
    const got = [];
    let look = () => {};
    client.on('message', (m) => {
      got.push(m.getData().toString());
      client.complete(m, () => {});
      look();
    });
    const arrived = (body) => new Promise((resolve) => { look = () => got.includes(body) && resolve(); look(); });
    const send = (n) => t.ask('c2d', { id: d.id, body: Buffer.from(n).toString('base64'), system: { messageId: `${t.messageId}-${n}`, ack: 'full' } });
    await send('1');
    await arrived('1');
    await t.ask('feedback', { id: d.id, message: `${t.messageId}-1` });
    await t.ask('hold');
    await send('2');
    await t.ask('held');
    await t.ask('cut');
    await send('3');
    await t.ask('feedback', { id: d.id, message: `${t.messageId}-2` });
    await t.ask('feedback', { id: d.id, message: `${t.messageId}-3` });
    assert.deepEqual(got, ['1', '2', '3']);
  },

  async 'reconnect second client takes over'(t) {
    const d = await t.device();
    const first = await open(t, transport, d);
    first.setRetryPolicy({ shouldRetry: () => false, nextRetryTimeout: () => -1 });
    const gone = next(first, 'disconnect');
    const second = await open(t, transport, d);
    await gone;
    await second.sendEvent(new Message('second'));
    await t.ask('events', { id: d.id, n: 1 });
  },
});
