'use strict';

const assert = require('node:assert/strict');
const { Registry } = require('azure-iothub');

let numbers = 0;
const unique = (t) => `${t.name.replace(/[^a-z0-9]+/gi, '-')}-${++numbers}`;

function registry(t, policy = 'iothubowner', key = t.hub.ownerKey) {
  return Registry.fromConnectionString(`HostName=${t.hub.host};SharedAccessKeyName=${policy};SharedAccessKey=${key}`);
}

const key = (fill) => Buffer.alloc(32, fill).toString('base64');
const sas = (a, b) => ({ type: 'sas', symmetricKey: { primaryKey: key(a), secondaryKey: key(b) } });
const body = async (p) => (await p).responseBody;

// failedBulk returns the result of a bulk call of which a part failed: the
// status is 400, and the SDK keeps the result in the error.
async function failedBulk(p) {
  const e = await p.then(() => { throw new Error('the bulk call succeeded'); }, (err) => err);
  assert.equal(e.name, 'ArgumentError', e.stack);
  const result = JSON.parse(e.responseBody);
  assert.equal(result.isSuccessful, false);
  return result;
}

module.exports = {
  async 'registry create, get, update, delete'(t) {
    const r = registry(t);
    const id = unique(t);
    const made = await body(r.create({ deviceId: id, status: 'enabled', authentication: sas(1, 2) }));
    assert.equal(made.deviceId, id);
    assert.equal(made.authentication.symmetricKey.primaryKey, key(1));
    assert.ok(made.etag && made.generationId);
    const got = await body(r.get(id));
    assert.deepEqual([got.status, got.connectionState, got.etag], ['enabled', 'Disconnected', made.etag]);
    const changed = await body(r.update({ deviceId: id, status: 'disabled', statusReason: 'testing', authentication: sas(3, 4) }));
    assert.deepEqual([changed.status, changed.statusReason, changed.authentication.symmetricKey.secondaryKey], ['disabled', 'testing', key(4)]);
    assert.notEqual(changed.etag, made.etag);
    await r.delete(id);
    await assert.rejects(r.get(id), { name: 'DeviceNotFoundError' });
  },

  async 'registry makes keys when none are given'(t) {
    const made = await body(registry(t).create({ deviceId: unique(t) }));
    assert.equal(Buffer.from(made.authentication.symmetricKey.primaryKey, 'base64').length, 32);
    assert.equal(made.authentication.type, 'sas');
  },

  async 'registry X.509 devices'(t) {
    const r = registry(t);
    const print = 'A1'.repeat(20);
    const made = await body(r.create({ deviceId: unique(t), authentication: { x509Thumbprint: { primaryThumbprint: print } } }));
    assert.deepEqual([made.authentication.type, made.authentication.x509Thumbprint.primaryThumbprint], ['selfSigned', print]);
    const ca = await body(r.create({ deviceId: unique(t), authentication: { type: 'certificateAuthority' } }));
    assert.equal(ca.authentication.type, 'certificateAuthority');
  },

  async 'SVC-045 registry DeviceAlreadyExistsError'(t) {
    const r = registry(t);
    const device = { deviceId: unique(t) };
    await r.create(device);
    await assert.rejects(r.create(device), { name: 'DeviceAlreadyExistsError' });
  },

  async 'SVC-063 registry DeviceNotFoundError'(t) {
    const r = registry(t);
    await assert.rejects(r.get('none'), { name: 'DeviceNotFoundError' });
    await assert.rejects(r.delete('none'), { name: 'DeviceNotFoundError' });
    await assert.rejects(r.getTwin('none'), { name: 'DeviceNotFoundError' });
    await assert.rejects(r.updateTwin('none', { tags: {} }, '*'), { name: 'DeviceNotFoundError' });
  },

  async 'registry ArgumentError'(t) {
    const r = registry(t);
    await assert.rejects(r.create({ deviceId: 'with blank' }), { name: 'ArgumentError' });
    await assert.rejects(r.create({ deviceId: 'x'.repeat(129) }), { name: 'ArgumentError' });
    await assert.rejects(r.create({ deviceId: unique(t), status: 'sleeping' }), { name: 'ArgumentError' });
  },

  async 'registry UnauthorizedError'(t) {
    await assert.rejects(registry(t, 'iothubowner', key(9)).get('x'), { name: 'UnauthorizedError' });
    await assert.rejects(registry(t, 'device', t.hub.deviceKey).get('x'), { name: 'UnauthorizedError' });
    await assert.rejects(registry(t, 'nobody', key(9)).get('x'), { name: 'UnauthorizedError' });
    const reader = registry(t, 'registryRead', t.hub.readKey);
    await assert.rejects(reader.create({ deviceId: unique(t) }), { name: 'UnauthorizedError' });
    await reader.list();
  },

  async 'registry strange device ids'(t) {
    const r = registry(t);
    const id = "a-:.+%_#*?!(),=@$'" + (++numbers);
    await r.create({ deviceId: id });
    assert.equal((await body(r.get(id))).deviceId, id);
    assert.equal((await body(r.getTwin(id))).deviceId, id);
    await r.delete(id);
  },

  async 'registry list'(t) {
    const r = registry(t);
    const ids = [unique(t), unique(t), unique(t)];
    for (const deviceId of ids) {
      await r.create({ deviceId });
    }
    const listed = (await body(r.list())).map((d) => d.deviceId);
    assert.deepEqual(ids.filter((id) => !listed.includes(id)), []);
  },

  async 'registry addDevices, updateDevices, removeDevices'(t) {
    const r = registry(t);
    const ids = Array.from({ length: 20 }, () => unique(t));
    const added = await body(r.addDevices(ids.map((deviceId) => ({ deviceId, status: 'enabled', authentication: sas(1, 2) }))));
    assert.deepEqual([added.isSuccessful, added.errors.length], [true, 0]);
    const again = await failedBulk(r.addDevices([{ deviceId: ids[0], status: 'enabled', authentication: sas(1, 2) }]));
    assert.deepEqual([again.errors.length, again.errors[0].deviceId], [1, ids[0]]);
    const devices = await Promise.all(ids.map((id) => body(r.get(id))));
    const updated = await body(r.updateDevices(devices.map((d) => ({ ...d, status: 'disabled' })), false));
    assert.equal(updated.isSuccessful, true, JSON.stringify(updated));
    assert.equal((await body(r.get(ids[7]))).status, 'disabled');
    const stale = await failedBulk(r.updateDevices([{ ...devices[0], status: 'enabled' }], false));
    assert.equal(stale.errors[0].errorCode, 412001);
    assert.equal((await body(r.get(ids[0]))).status, 'disabled');
    assert.equal((await body(r.updateDevices([{ ...devices[0], status: 'enabled' }], true))).isSuccessful, true);
    await failedBulk(r.removeDevices([devices[0]], false));
    assert.equal((await body(r.removeDevices(devices, true))).isSuccessful, true);
    await assert.rejects(r.get(ids[19]), { name: 'DeviceNotFoundError' });
  },

  async 'registry more than 100 in a bulk call'(t) {
    const r = registry(t);
    const many = Array.from({ length: 101 }, () => ({ deviceId: unique(t), status: 'enabled', authentication: sas(1, 2) }));
    await assert.rejects(r.addDevices(many));
    await assert.rejects(r.get(many[0].deviceId), { name: 'DeviceNotFoundError' });
  },

  async 'registry statistics'(t) {
    const r = registry(t);
    const before = await body(r.getRegistryStatistics());
    await r.create({ deviceId: unique(t), status: 'enabled' });
    await r.create({ deviceId: unique(t), status: 'disabled' });
    const after = await body(r.getRegistryStatistics());
    // Other areas register devices at the same time.
    assert.ok(after.totalDeviceCount >= before.totalDeviceCount + 2);
    assert.ok(after.enabledDeviceCount >= before.enabledDeviceCount + 1);
    assert.ok(after.disabledDeviceCount >= before.disabledDeviceCount + 1);
    assert.equal(after.totalDeviceCount, after.enabledDeviceCount + after.disabledDeviceCount);
  },

  async 'modules add, get, list, update, remove'(t) {
    const r = registry(t);
    const deviceId = unique(t);
    await r.create({ deviceId });
    await r.addModule({ deviceId, moduleId: 'a', authentication: sas(1, 2) });
    await r.addModule({ deviceId, moduleId: 'b', managedBy: 'someone' });
    await assert.rejects(r.addModule({ deviceId, moduleId: 'a' }), { name: 'DeviceAlreadyExistsError' });
    const a = await body(r.getModule(deviceId, 'a'));
    assert.deepEqual([a.moduleId, a.authentication.symmetricKey.primaryKey], ['a', key(1)]);
    assert.deepEqual((await body(r.getModulesOnDevice(deviceId))).map((m) => m.moduleId).sort(), ['a', 'b']);
    const changed = await body(r.updateModule({ ...a, authentication: sas(5, 6) }));
    assert.equal(changed.authentication.symmetricKey.primaryKey, key(5));
    await assert.rejects(r.updateModule({ ...a, authentication: sas(7, 8) }), { name: 'InvalidEtagError' });
    await r.updateModule({ ...a, authentication: sas(7, 8) }, true);
    await r.removeModule(deviceId, 'a');
    await assert.rejects(r.getModule(deviceId, 'a'));
    const b = await body(r.getModule(deviceId, 'b'));
    // Without a callback the SDK loses its own when it gets a module.
    await new Promise((resolve, reject) => r.removeModule(b, (e) => (e ? reject(e) : resolve())));
    assert.deepEqual(await body(r.getModulesOnDevice(deviceId)), []);
  },

  async 'twins get, merge, null deletion'(t) {
    const r = registry(t);
    const deviceId = unique(t);
    await r.create({ deviceId });
    const twin = await body(r.getTwin(deviceId));
    assert.deepEqual([twin.deviceId, twin.version, twin.tags && Object.keys(twin.tags).length], [deviceId, 2, twin.tags && 0]);
    const { result: one } = await twin.update({ tags: { site: { room: 1, floor: 2 } }, properties: { desired: { a: 1, b: { c: 'x' } } } });
    assert.deepEqual([one.tags.site, one.properties.desired.b, one.properties.desired.$version], [{ room: 1, floor: 2 }, { c: 'x' }, 2]);
    const two = await body(r.updateTwin(deviceId, { tags: { site: { room: null } }, properties: { desired: { a: null } } }, one.etag));
    assert.deepEqual([two.tags, two.properties.desired.a], [{ site: { floor: 2 } }, undefined]);
    assert.deepEqual([two.version, two.properties.desired.$version], [4, 3]);
  },

  async 'twins InvalidEtagError'(t) {
    const r = registry(t);
    const deviceId = unique(t);
    await r.create({ deviceId });
    const twin = await body(r.getTwin(deviceId));
    await r.updateTwin(deviceId, { tags: { n: 1 } }, twin.etag);
    await assert.rejects(r.updateTwin(deviceId, { tags: { n: 2 } }, twin.etag), { name: 'InvalidEtagError' });
    assert.equal((await body(r.getTwin(deviceId))).tags.n, 1);
    await r.updateTwin(deviceId, { tags: { n: 3 } }, '*');
    assert.equal((await body(r.getTwin(deviceId))).tags.n, 3);
  },

  async 'twins bad patches are ArgumentError'(t) {
    const r = registry(t);
    const deviceId = unique(t);
    await r.create({ deviceId });
    for (const patch of [{ tags: { 'a.b': 1 } }, { tags: { $x: 1 } }, { properties: { desired: 7 } }, { tags: { big: 'x'.repeat(5000) } }]) {
      await assert.rejects(r.updateTwin(deviceId, patch, '*'), { name: 'ArgumentError' });
    }
    assert.equal((await body(r.getTwin(deviceId))).version, 2);
  },

  async 'twins of modules'(t) {
    const r = registry(t);
    const deviceId = unique(t);
    await r.create({ deviceId });
    await r.addModule({ deviceId, moduleId: 'm' });
    const twin = await body(r.getModuleTwin(deviceId, 'm'));
    assert.equal(twin.moduleId, 'm');
    await r.updateModuleTwin(deviceId, 'm', { properties: { desired: { on: true } } }, twin.etag);
    await assert.rejects(r.updateModuleTwin(deviceId, 'm', { tags: {} }, twin.etag), { name: 'InvalidEtagError' });
    assert.equal((await body(r.getModuleTwin(deviceId, 'm'))).properties.desired.on, true);
    assert.equal((await body(r.getTwin(deviceId))).properties.desired.on, undefined);
  },
};
