// The service client over AMQP: messages to devices, feedback, notifications.
'use strict';

const assert = require('node:assert/strict');
const service = require('azure-iothub');
const { Message, NoRetry } = require('azure-iot-common');

module.exports = (transport) => {
  const open = async (t, policy = 'service', key = t.hub.serviceKey) => {
    const c = service.Client.fromConnectionString(`HostName=${t.hub.host};SharedAccessKeyName=${policy};SharedAccessKey=${key}`, transport);
    c.setRetryPolicy(new NoRetry());
    t.after(() => c.close());
    await c.open();
    return c;
  };

  // inbox collects what a receiver gets.
  const inbox = (receiver) => {
    const got = [];
    let look = () => {};
    receiver.on('message', (m) => { got.push(...JSON.parse(m.getData().toString())); look(); });
    return {
      got,
      until: (want) => new Promise((resolve) => { look = () => { const r = got.find(want); if (r) resolve(r); }; look(); }),
    };
  };

  const refused = (promise, name) => assert.rejects(promise, (e) => { assert.ok([e.name, e.amqpError?.name].includes(name), e.stack); return true; });

  return {
    async 'send with properties'(t) {
      const d = await t.device();
      const client = await open(t);
      const m = new Message('größe');
      Object.assign(m, { messageId: 'm-1', correlationId: 'c-1', contentType: 'text/plain', contentEncoding: 'utf-8', ack: 'full' });
      m.properties.add('k', 'v w');
      const result = await client.send(d.id, m);
      assert.equal(result.result.constructor.name, 'MessageEnqueued');
      const got = await t.ask('settle', { id: d.id, verdict: 'complete' });
      assert.equal(got.body, 'größe');
      assert.deepEqual(got.app, { k: 'v w' });
      assert.deepEqual(got.system, { messageId: 'm-1', correlationId: 'c-1', contentType: 'text/plain', contentEncoding: 'utf-8', ack: 'full' });
    },

    async 'send to a strange id'(t) {
      const client = await open(t);
      const strange = await t.device({ id: `a+%20#*?!(),=@$'${transport.name}` });
      await client.send(strange.id, new Message('strange'));
      assert.equal((await t.ask('settle', { id: strange.id, verdict: 'complete' })).body, 'strange');
    },

    async 'send in order'(t) {
      const d = await t.device();
      const client = await open(t);
      await Promise.all(Array.from({ length: 40 }, (_, n) => client.send(d.id, new Message(String(n)))));
      for (let n = 0; n < 40; n++) {
        assert.equal((await t.ask('settle', { id: d.id, verdict: 'complete' })).body, String(n));
      }
    },

    async 'send errors leave the client open'(t) {
      const d = await t.device();
      const client = await open(t);
      await refused(client.send('nobody', new Message('x')), 'DeviceNotFoundError');
      await refused(client.send(d.id, new Message(Buffer.alloc(65537))), 'MessageTooLargeError');
      const late = new Message('x');
      late.expiryTimeUtc = Date.now() - 3600000;
      await refused(client.send(d.id, late), 'ArgumentError');
      for (let n = 0; n < 50; n++) {
        await client.send(d.id, new Message('x'));
      }
      await refused(client.send(d.id, new Message('x')), 'DeviceMaximumQueueDepthExceededError');
      const other = await t.device();
      await client.send(other.id, new Message('after all'));
    },

    async 'wrong key and lacking right are UnauthorizedError'(t) {
      const wrong = Buffer.alloc(32, 7).toString('base64');
      await refused(open(t, 'service', wrong).then((c) => c.send('d', new Message('x'))), 'UnauthorizedError');
      await refused(open(t, 'registryRead', t.hub.readKey).then((c) => c.send('d', new Message('x'))), 'UnauthorizedError');
    },

    async 'feedback by ack'(t) {
      const d = await t.device();
      const client = await open(t);
      const box = inbox((await client.getFeedbackReceiver()).result);
      const send = async (id, ack, verdict) => {
        const m = new Message('x');
        m.messageId = id;
        m.ack = ack;
        await client.send(d.id, m);
        if (verdict === 'purge') {
          await t.ask('purge', { id: d.id });
        } else {
          await t.ask('settle', { id: d.id, verdict });
        }
      };
      await send('none', 'none', 'complete');
      await send('positive-rejected', 'positive', 'reject');
      await send('negative-completed', 'negative', 'complete');
      await send('positive', 'positive', 'complete');
      await send('negative', 'negative', 'reject');
      await send('purged', 'full', 'purge');
      await send('full', 'full', 'complete');
      await box.until((r) => r.deviceId === d.id && r.originalMessageId === 'full');
      const of = Object.fromEntries(box.got.filter((r) => r.deviceId === d.id).map((r) => [r.originalMessageId, r.statusCode]));
      assert.deepEqual(of, { positive: 'Success', negative: 'Rejected', purged: 'Purged', full: 'Success' });
    },

    // The SDK accepts each message before it shows it.
    async 'feedback comes once'(t) {
      const d = await t.device();
      const client = await open(t);
      const { result } = await client.getFeedbackReceiver();
      const box = inbox(result);
      for (const id of ['first', 'second']) {
        const m = new Message('x');
        m.messageId = id;
        m.ack = 'full';
        await client.send(d.id, m);
        await t.ask('settle', { id: d.id, verdict: 'complete' });
        await box.until((r) => r.deviceId === d.id && r.originalMessageId === id);
      }
      assert.deepEqual(box.got.filter((r) => r.deviceId === d.id).map((r) => r.originalMessageId), ['first', 'second']);
    },

    async 'file notification receiver attaches and stays empty'(t) {
      const d = await t.device();
      const client = await open(t);
      const { result } = await client.getFileNotificationReceiver();
      result.on('message', (m) => t.fail(new Error(`there is ${m.getData()}`)));
      result.on('errorReceived', t.fail);
      await client.send(d.id, new Message('the link beside it works'));
    },
  };
};
