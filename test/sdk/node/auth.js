'use strict';

const assert = require('node:assert/strict');
const { Client, Message, SharedAccessSignature } = require('azure-iot-device');
const { NoRetry } = require('azure-iot-common');
const { make, open, refused, refusal } = require('./client');

const wrong = Buffer.alloc(32, 7).toString('base64');
const seconds = () => Math.floor(Date.now() / 1000);

module.exports = (transport) => ({
  async 'auth second key'(t) {
    const d = await t.device();
    const client = await open(t, transport, d, d.connection(t.hub.host, `SharedAccessKey=${d.second}`));
    await client.sendEvent(new Message('x'));
    await t.ask('events', { id: d.id, n: 1 });
  },

  async 'auth policy key with DeviceConnect'(t) {
    const d = await t.device();
    const client = await open(t, transport, d, d.connection(t.hub.host, `SharedAccessKeyName=device;SharedAccessKey=${t.hub.deviceKey}`));
    await client.sendEvent(new Message('x'));
    assert.match((await t.ask('events', { id: d.id, n: 1 }))[0].auth, /"scope":"hub","type":"sas"/);
  },

  async 'auth wrong key'(t) {
    const d = await t.device();
    const e = await refused(t, transport, d, d.connection(t.hub.host, `SharedAccessKey=${wrong}`));
    assert.equal(e.name, 'UnauthorizedError');
  },

  async 'auth unknown device'(t) {
    const d = { id: 'nobody' };
    const e = await refused(t, transport, d, `HostName=${t.hub.host};DeviceId=nobody;SharedAccessKey=${wrong}`);
    assert.match(e.name, transport.name === 'Http' ? /UnauthorizedError|DeviceNotFoundError/ : /^UnauthorizedError$/);
  },

  async 'auth strange device ids'(t) {
    for (const id of [`a-:.+%_#*?!(),=@$'${transport.name}`, transport.name[0].repeat(120) + transport.name]) {
      const d = await t.device({ id });
      const client = Client.fromSharedAccessSignature(
        SharedAccessSignature.create(t.hub.host, d.id, d.key, seconds() + 600).toString(), transport);
      t.after(() => client.close());
      await client.open();
      await client.sendEvent(new Message(id));
      assert.equal(Buffer.from((await t.ask('events', { id: d.id, n: 1 }))[0].body, 'base64').toString(), id);
    }
  },

  async 'auth expired token'(t) {
    const d = await t.device();
    const token = SharedAccessSignature.create(t.hub.host, d.id, d.key, seconds() - 600).toString();
    const client = Client.fromSharedAccessSignature(token, transport);
    t.after(() => client.close());
    client.setRetryPolicy(new NoRetry());
    assert.equal((await refusal(client, transport)).name, 'UnauthorizedError');
  },

  async 'auth token renewed by updateSharedAccessSignature'(t) {
    const d = await t.device();
    const token = (life) => SharedAccessSignature.create(t.hub.host, d.id, d.key, seconds() + life).toString();
    const client = Client.fromSharedAccessSignature(token(1800), transport);
    t.after(() => client.close());
    await client.open();
    await client.sendEvent(new Message('before'));
    await new Promise((resolve, reject) => client.updateSharedAccessSignature(token(3600), (e) => (e ? reject(e) : resolve())));
    await client.sendEvent(new Message('after'));
    const events = await t.ask('events', { id: d.id, n: 2 });
    assert.deepEqual(events.map((e) => Buffer.from(e.body, 'base64').toString()), ['before', 'after']);
  },

  async 'auth self-signed certificate'(t) {
    const d = await t.device({ auth: 'selfSigned' });
    const client = await open(t, transport, d);
    await client.sendEvent(new Message('x'));
    assert.match((await t.ask('events', { id: d.id, n: 1 }))[0].auth, /"type":"x509"/);
  },

  async 'auth certificate that does not fit'(t) {
    const d = await t.device({ auth: 'selfSigned' });
    const other = await t.device({ auth: 'selfSigned' });
    const e = await refused(t, transport, { ...d, cert: other.cert, certKey: other.certKey });
    assert.equal(e.name, 'UnauthorizedError');
  },

  async 'auth certificate of a registered CA'(t) {
    const d = await t.device({ auth: 'certificateAuthority' });
    const client = await open(t, transport, d);
    await client.sendEvent(new Message('x'));
    await t.ask('events', { id: d.id, n: 1 });
  },

  async 'auth disabled device'(t) {
    const d = await t.device({ status: 'disabled' });
    assert.match((await refused(t, transport, d)).name, /^UnauthorizedError$|^DeviceNotFoundError$/);
  },

  async 'auth GatewayHostName dials, HostName proves'(t) {
    const d = await t.device();
    const client = await open(t, transport, d, `${d.connection(t.hub.name)};GatewayHostName=${t.hub.host}`);
    await client.sendEvent(new Message('x'));
    await t.ask('events', { id: d.id, n: 1 });
  },

  async 'auth untrusted server is refused by the client'(t) {
    const d = await t.device();
    const client = make(t, transport, d, d.connection(t.hub.untrusted));
    client.setRetryPolicy(new NoRetry());
    // Node's "unable to verify the first certificate" is an UnauthorizedError for the SDK.
    await refusal(client, transport);
    assert.equal(await t.ask('untrusted'), 0);
  },
});
