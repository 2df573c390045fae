'use strict';

const assert = require('node:assert/strict');
const { promisify } = require('node:util');
const { Message } = require('azure-iot-device');
const { open } = require('./client');

module.exports = (transport) => ({
  async 'module telemetry'(t) {
    const d = await t.device({ module: 'mod-1' });
    const client = await open(t, transport, d);
    await client.sendEvent(new Message('from a module'));
    const out = new Message('out');
    out.properties.add('k', 'v');
    await client.sendOutputEvent('alert', out);
    const events = await t.ask('events', { id: `${d.id}/${d.module}`, n: 2 });
    assert.deepEqual(events.map((e) => [Buffer.from(e.body, 'base64').toString(), e.system.output]), [['from a module', undefined], ['out', 'alert']]);
    assert.deepEqual(events[1].app, { k: 'v' });
    assert.match(events[0].auth, /"scope":"module"/);
  },

  async 'module methods'(t) {
    const d = await t.device({ module: 'm' });
    const client = await open(t, transport, d);
    client.onMethod('echo', (request, response) => response.send(201, { got: request.payload }));
    assert.deepEqual(await t.ask('invoke', { id: `${d.id}/m`, method: 'echo', payload: 7, connect: 60 }), { status: 201, payload: { got: 7 } });
  },

  async 'module twin'(t) {
    const d = await t.device({ module: 'm' });
    const client = await open(t, transport, d);
    const twin = await client.getTwin();
    const desired = new Promise((resolve) => twin.on('properties.desired.speed', resolve));
    await promisify(twin.properties.reported.update)({ on: true });
    await t.ask('patch', { id: `${d.id}/m`, patch: { properties: { desired: { speed: 9 } } } });
    assert.equal(await desired, 9);
    assert.equal((await t.ask('twin', { id: `${d.id}/m` })).properties.reported.on, true);
    assert.equal((await t.ask('twin', { id: d.id })).properties.reported.on, undefined);
  },

  async 'module and device at the same time'(t) {
    const m = await t.device({ module: 'm' });
    const d = await t.ask('identity', { id: m.id });
    const device = { id: m.id, connection: () => `HostName=${t.hub.host};DeviceId=${m.id};SharedAccessKey=${d.key}` };
    const [a, b] = [await open(t, transport, m), await open(t, transport, device)];
    await Promise.all([a.sendEvent(new Message('m')), b.sendEvent(new Message('d'))]);
    await t.ask('events', { id: `${m.id}/m`, n: 1 });
    await t.ask('events', { id: m.id, n: 1 });
  },
});
