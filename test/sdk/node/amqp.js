// What devices can do over AMQP and not over MQTT.
'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { Client, Message, SharedAccessKeyAuthenticationProvider } = require('azure-iot-device');
const { open, next } = require('./client');

const b64 = (s) => Buffer.from(s).toString('base64');
const text = (e) => Buffer.from(e.body, 'base64').toString();

module.exports = (transport) => ({
  async 'amqp c2d rejected'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    const came = next(client, 'message');
    await t.ask('c2d', { id: d.id, body: b64('x'), system: { messageId: t.messageId, ack: 'full' } });
    await client.reject(await came);
    assert.equal((await t.ask('feedback', { id: d.id, message: t.messageId })).status, 'Rejected');
  },

  async 'amqp c2d abandoned comes again'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    const got = [];
    const twice = new Promise((resolve, reject) => client.on('message', (m) => {
      got.push(m.getData().toString());
      if (got.length === 1) {
        client.abandon(m).catch(reject);
      } else {
        client.complete(m).then(resolve, reject);
      }
    }));
    await t.ask('c2d', { id: d.id, body: b64('x'), system: { messageId: t.messageId, ack: 'full' } });
    await twice;
    assert.deepEqual(got, ['x', 'x']);
    assert.equal((await t.ask('feedback', { id: d.id, message: t.messageId })).status, 'Success');
  },

  async 'amqp tokens are renewed without a disconnect'(t) {
    const d = await t.device();
    // Tokens for an hour that are renewed every second.
    const provider = SharedAccessKeyAuthenticationProvider.fromConnectionString(d.connection(), 3600, 3599);
    const client = Client.fromAuthenticationProvider(provider, transport);
    t.after(() => client.close());
    let lost = 0;
    client.on('disconnect', () => { lost++; });
    await client.open();
    await client.sendEvent(new Message('before'));
    const came = next(client, 'message');
    await once(provider, 'newTokenAvailable');
    await once(provider, 'newTokenAvailable');
    await client.sendEvent(new Message('after'));
    await t.ask('c2d', { id: d.id, body: b64('x') });
    await client.complete(await came);
    assert.equal(lost, 0);
    assert.deepEqual((await t.ask('events', { id: d.id, n: 2 })).map(text), ['before', 'after']);
  },
});
