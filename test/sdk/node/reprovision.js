// Devices that are spread over hubs, and that move from one to the other.
'use strict';

const assert = require('node:assert/strict');
const { promisify } = require('node:util');
const enrol = require('./enrol');
const { pairs, register, sends } = require('./provision');

const [Transport, HubTransport] = pairs.mqtt();

module.exports = {
  async 'DPS-276 forty members of a group are spread over both hubs'(t) {
    const group = await enrol.symmetricGroup(t, { allocationPolicy: 'hashed' });
    const members = Array.from({ length: 40 }, (_, n) => group.member(`${group.group}-${n}`));
    const hubs = (await Promise.all(members.map((m) => register(t, Transport, m)))).map((s) => s.assignedHub);
    const count = (host) => hubs.filter((h) => h === host).length;
    assert.equal(count(t.hub.host) + count(t.hub.second), 40);
    // Chance alone gives a hub fewer than six of forty about once in a million runs.
    assert.ok(Math.min(count(t.hub.host), count(t.hub.second)) >= 6, `${count(t.hub.host)} and ${count(t.hub.second)}`);
    const query = enrol.service(t).createEnrollmentGroupDeviceRegistrationStateQuery({ query: 'SELECT * FROM registrations' }, group.group, 15);
    const { all: seen } = await enrol.pages(query, 15);
    assert.deepEqual(seen.map((s) => s.registrationId).sort(), members.map((m) => m.id).sort());
  },

  async 'DPS-276 a device moves to another hub with its data'(t) {
    const { host: one, second: two } = t.hub;
    const device = await enrol.symmetric(t, { allocationPolicy: 'static', iotHubs: [one], reprovisionPolicy: { updateHubAssignment: true, migrateDeviceData: true } });
    const first = await register(t, Transport, device);
    assert.deepEqual([first.assignedHub, first.substatus], [one, 'initialAssignment']);
    const client = await sends(t, HubTransport, device, one);
    const twin = await client.getTwin();
    await promisify(twin.properties.reported.update)({ mileage: 12 });
    await t.ask('patch', { hub: one, id: device.deviceId, patch: { tags: { site: 'north' }, properties: { desired: { interval: 5 } } } });

    await device.change({ iotHubs: [two] });
    const then = await register(t, Transport, device);
    assert.deepEqual([then.assignedHub, then.deviceId, then.substatus], [two, device.deviceId, 'deviceDataMigrated']);
    const moved = await t.ask('twin', { hub: two, id: device.deviceId });
    assert.deepEqual(moved.tags, { ...enrol.twin(t).tags, site: 'north' });
    assert.equal(moved.properties.desired.interval, 5);
    assert.equal(moved.properties.reported.mileage, 12);
    await assert.rejects(t.ask('identity', { hub: one, id: device.deviceId }), { code: 404001 });
    await sends(t, HubTransport, device, two);
  },

  async 'DPS-276 a device moves to another hub and starts afresh'(t) {
    const { host: one, second: two } = t.hub;
    const device = await enrol.symmetric(t, { allocationPolicy: 'static', iotHubs: [one], reprovisionPolicy: { updateHubAssignment: true, migrateDeviceData: false } });
    await register(t, Transport, device);
    await t.ask('patch', { hub: one, id: device.deviceId, patch: { tags: { site: 'north' } } });
    await device.change({ iotHubs: [two] });
    const then = await register(t, Transport, device);
    assert.deepEqual([then.assignedHub, then.substatus], [two, 'deviceDataReset']);
    assert.deepEqual((await t.ask('twin', { hub: two, id: device.deviceId })).tags, enrol.twin(t).tags);
    await sends(t, HubTransport, device, two);
  },

  async 'DPS-276 a device that never moves'(t) {
    const { host: one, second: two } = t.hub;
    const device = await enrol.symmetric(t, { allocationPolicy: 'static', iotHubs: [one], reprovisionPolicy: { updateHubAssignment: false, migrateDeviceData: false } });
    assert.equal((await register(t, Transport, device)).assignedHub, one);
    await device.change({ iotHubs: [two] });
    assert.equal((await register(t, Transport, device)).assignedHub, one);
  },
};
