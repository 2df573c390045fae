'use strict';

const assert = require('node:assert/strict');
const { open, next } = require('./client');

const b64 = (s) => Buffer.from(s).toString('base64');

module.exports = (transport) => ({
  async 'c2d arrives with its properties and is completed'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    const app = { plain: 'value', 'key-2': 'a b', "sign&%+#$'*": '1/2&3=4%5+6#$', utf: 'größe €' };
    const came = next(client, 'message');
    await t.ask('c2d', { id: d.id, body: b64('hello ü'), app,
      system: { messageId: t.messageId, correlationId: 'c:1+2', userId: 'someone', contentType: 'text/plain', contentEncoding: 'utf-8', ack: 'full' } });
    const m = await came;
    assert.equal(m.getData().toString(), 'hello ü');
    assert.deepEqual(Object.fromEntries(Array.from({ length: m.properties.count() }, (_, n) => {
      const p = m.properties.getItem(n);
      return [p.key, p.value];
    }).filter(([k]) => k in app)), app);
    assert.equal(m.messageId, t.messageId);
    assert.equal(m.correlationId, 'c:1+2');
    if (!/^Amqp/.test(transport.name)) { // the SDK does not read it over AMQP
      assert.equal(m.userId, 'someone');
    }
    assert.equal(m.contentType, 'text/plain');
    assert.equal(m.contentEncoding, 'utf-8');
    assert.match(m.to, new RegExp(`^/devices/${d.id}/messages/devicebound$`, 'i'));
    await client.complete(m);
    assert.equal((await t.ask('feedback', { id: d.id, message: t.messageId })).status, 'Success');
  },

  async 'c2d that waited comes in order'(t) {
    const d = await t.device();
    for (let n = 0; n < 10; n++) {
      await t.ask('c2d', { id: d.id, body: b64(String(n)), system: { messageId: `${t.messageId}-${n}`, ack: 'positive' } });
    }
    const client = await open(t, transport, d);
    const got = [];
    await new Promise((resolve) => client.on('message', (m) => {
      got.push(m.getData().toString());
      client.complete(m, () => got.length === 10 && resolve());
    }));
    assert.deepEqual(got, ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    await t.ask('feedback', { id: d.id, message: `${t.messageId}-9` });
  },

  async 'c2d with an empty body'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    const came = next(client, 'message');
    await t.ask('c2d', { id: d.id, body: '', system: { messageId: 'e' } });
    assert.equal((await came).getData().length, 0);
  },

  async 'c2d of 64 KiB less 512'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    const came = next(client, 'message');
    const body = Buffer.alloc(64 * 1024 - 512, 'y');
    await t.ask('c2d', { id: d.id, body: body.toString('base64') });
    assert.ok((await came).getData().equals(body));
  },
});
