'use strict';

const assert = require('node:assert/strict');
const { promisify } = require('node:util');
const { open } = require('./client');

const report = (twin, patch) => promisify(twin.properties.reported.update.bind(twin.properties.reported))(patch);

// changes collects desired updates and hands out a promise for the next that fits.
function changes(twin) {
  const seen = [];
  let look = () => {};
  twin.on('properties.desired', (p) => {
    seen.push(JSON.parse(JSON.stringify(p)));
    look();
  });
  return (fits) => new Promise((resolve) => {
    look = () => seen.some(fits) && resolve(seen.find(fits));
    look();
  });
}

module.exports = (transport) => ({
  async 'twin read'(t) {
    const d = await t.device();
    await t.ask('patch', { id: d.id, patch: { tags: { hidden: true }, properties: { desired: { a: { b: 1 }, list: [1, 2], s: 'ü' } } } });
    const client = await open(t, transport, d);
    const twin = await client.getTwin();
    assert.deepEqual(JSON.parse(JSON.stringify(twin.properties.desired)), { a: { b: 1 }, list: [1, 2], s: 'ü', $version: 2 });
    assert.equal(twin.properties.reported.$version, 1);
    assert.equal(twin.tags, undefined);
  },

  async 'twin reported merge and null deletion'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    const twin = await client.getTwin();
    await report(twin, { fan: { on: true, speed: 3 }, name: 'x' });
    await report(twin, { fan: { speed: null, dir: 'left' }, more: [1, { a: 2 }] });
    await report(twin, { name: null });
    const stored = await t.ask('twin', { id: d.id });
    const { $metadata, $version, ...reported } = stored.properties.reported;
    assert.deepEqual(reported, { fan: { on: true, dir: 'left' }, more: [1, { a: 2 }] });
    assert.equal($version, 4);
    assert.ok($metadata.fan.on.$lastUpdated);
    assert.equal($metadata.name, undefined);
    const again = await (await client.getTwin()).get();
    assert.equal(again.properties.reported.fan.dir, 'left');
  },

  async 'twin desired updates'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    const twin = await client.getTwin();
    const update = changes(twin);
    // The subscription is made behind the listener's back; a write that the hub
    // answers afterwards on the same connection follows it.
    await report(twin, { listening: true });
    await t.ask('patch', { id: d.id, patch: { properties: { desired: { fan: { speed: 5 }, gone: 'x' } } } });
    assert.deepEqual(await update((p) => p.fan), { fan: { speed: 5 }, gone: 'x', $version: 2 });
    await t.ask('patch', { id: d.id, patch: { properties: { desired: { gone: null } } } });
    assert.deepEqual(await update((p) => p.gone === null), { gone: null, $version: 3 });
    assert.equal(twin.properties.desired.gone, undefined);
    assert.equal(twin.properties.desired.fan.speed, 5);
  },

  async 'DEV-140 twin bad key is refused'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    const twin = await client.getTwin();
    // Over MQTT the SDK makes a plain Error of the text in the answer.
    await assert.rejects(report(twin, { $bad: 1, good: 2 }), /\$bad/);
    await assert.rejects(report(twin, { 'a.b': 1 }), /a\.b/);
    await report(twin, { fine: true });
    const { $metadata, $version, ...reported } = (await t.ask('twin', { id: d.id })).properties.reported;
    assert.deepEqual([reported, $version], [{ fine: true }, 2]);
  },

  async 'twin too large is refused'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    const twin = await client.getTwin();
    const patch = Object.fromEntries(Array.from({ length: 10 }, (_, n) => [`p${n}`, 'x'.repeat(4000)]));
    await assert.rejects(report(twin, patch), /large|size|limit/i);
    assert.equal((await t.ask('twin', { id: d.id })).properties.reported.$version, 1);
  },

  async 'twin 20 reads and writes at once'(t) {
    const d = await t.device();
    const client = await open(t, transport, d);
    const twin = await client.getTwin();
    await Promise.all(Array.from({ length: 20 }, (_, n) => report(twin, { [`k${n}`]: n })));
    const stored = (await t.ask('twin', { id: d.id })).properties.reported;
    assert.equal(stored.$version, 21);
    for (let n = 0; n < 20; n++) {
      assert.equal(stored[`k${n}`], n);
    }
  },
});
