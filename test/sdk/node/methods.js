'use strict';

const assert = require('node:assert/strict');
const { open } = require('./client');

// serve answers a method by f(payload) → [status, payload].
function serve(t, client, name, f) {
  client.onDeviceMethod(name, (request, response) => {
    const [status, payload] = f(request.payload);
    response.send(status, payload, (err) => err && t.fail(err));
  });
}

module.exports = (transport) => ({
  async 'methods statuses and payloads'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    serve(t, client, 'echo', (p) => [200, p]);
    serve(t, client, 'missing', () => [404, { why: 'none' }]);
    serve(t, client, 'broken', () => [500, 'oops']);
    serve(t, client, 'odd', () => [-7, [1, 2]]);
    const invoke = (method, payload) => t.ask('invoke', { id: d.id, method, payload, connect: 60 });
    for (const p of [{ a: { b: [1, 'x', null, true] } }, 'text', '', 0, 42.5, false, [], {}, 'ü€文']) {
      assert.deepEqual(await invoke('echo', p), { status: 200, payload: p });
    }
    assert.deepEqual(await invoke('missing', {}), { status: 404, payload: { why: 'none' } });
    assert.deepEqual(await invoke('broken', {}), { status: 500, payload: 'oops' });
    assert.deepEqual(await invoke('odd', {}), { status: -7, payload: [1, 2] });
  },

  async 'methods null payload both ways'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    serve(t, client, 'nothing', (p) => (p === null || p === undefined ? [200, null] : [400, p]));
    assert.deepEqual(await t.ask('invoke', { id: d.id, method: 'nothing', payload: null, connect: 60 }), { status: 200, payload: null });
    assert.deepEqual(await t.ask('invoke', { id: d.id, method: 'nothing', connect: 60 }), { status: 200, payload: null });
  },

  async 'methods ten in parallel'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    const waiting = [];
    // All ten are held until the last has come, then answered in reverse.
    client.onDeviceMethod('hold', (request, response) => {
      waiting.unshift(() => response.send(200, request.payload));
      if (waiting.length === 10) {
        waiting.forEach((f) => f());
      }
    });
    const replies = await Promise.all(Array.from({ length: 10 }, (_, n) => t.ask('invoke', { id: d.id, method: 'hold', payload: n, connect: 60 })));
    assert.deepEqual(replies, Array.from({ length: 10 }, (_, n) => ({ status: 200, payload: n })));
  },

  async 'methods 120 KiB'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    serve(t, client, 'echo', (p) => [200, p]);
    const payload = 'z'.repeat(120 * 1024);
    assert.deepEqual(await t.ask('invoke', { id: d.id, method: 'echo', payload, connect: 60 }), { status: 200, payload });
  },

  async 'methods offline device is 404103'(t) {
    const d = await t.device();
    await assert.rejects(t.ask('invoke', { id: d.id, method: 'echo', payload: {} }), { code: 404103 });
  },

  async 'methods no answer is 504101'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    const called = new Promise((resolve) => client.onDeviceMethod('mute', () => resolve()));
    const reply = t.ask('invoke', { id: d.id, method: 'mute', payload: {}, timeout: 5, connect: 60 });
    await Promise.all([called, assert.rejects(reply, { code: 504101 })]);
  },
});
