// The Event Hubs client against the hub's event endpoint.
'use strict';

const assert = require('node:assert/strict');
const { EventHubConsumerClient, earliestEventPosition, latestEventPosition } = require('@azure/event-hubs');

const base = (t, key = t.hub.serviceKey) => `Endpoint=sb://${t.hub.host}/;SharedAccessKeyName=service;SharedAccessKey=${key};EntityPath=${t.hub.entity}`;

const open = (t, { group = '$Default', connection = base(t), ...options } = {}) => {
  const c = new EventHubConsumerClient(group, connection, { retryOptions: { maxRetries: 0, timeoutInMs: 60000 }, ...options });
  t.after(() => c.close());
  return c;
};

// collect subscribes and gathers events of some devices until there are n.
const collect = async (t, client, devices, n, where = {}, options = {}) => {
  const ids = new Set([devices].flat().map((d) => d.id));
  const got = [];
  let s;
  try {
    await new Promise((resolve, reject) => {
      const handlers = {
        async processEvents(events, context) {
          for (const e of events) {
            if (ids.has(e.systemProperties['iothub-connection-device-id'])) {
              got.push(Object.assign(e, { partition: context.partitionId, last: context.lastEnqueuedEventProperties }));
            }
          }
          if (got.length >= n) resolve();
        },
        async processError(e) { reject(e); },
      };
      const all = { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 1, ...options };
      s = where.partition === undefined ? client.subscribe(handlers, all) : client.subscribe(where.partition, handlers, all);
    });
  } finally {
    await s.close();
  }
  assert.equal(got.length, n);
  return got;
};

const bodies = (events) => events.map((e) => String(e.body));

const working = async (t, client) => {
  const d = await t.device();
  await t.ask('publish', { id: d.id, bodies: ['a', 'b', 'c'] });
  assert.deepEqual(bodies(await collect(t, client, d, 3)), ['a', 'b', 'c']);
};

module.exports = {
  async 'SVC-254 getEventHubProperties and subscribe'(t) {
    const client = open(t);
    const p = await client.getEventHubProperties();
    assert.equal(p.name, t.hub.entity);
    assert.deepEqual(p.partitionIds, ['0', '1', '2', '3']);
    assert.ok(Math.abs(Date.now() - p.createdOn.getTime()) < 600000);
    await working(t, client);
  },

  async 'partition properties'(t) {
    const client = open(t);
    const d = await t.device();
    const partition = String(await t.ask('publish', { id: d.id, bodies: ['a'] }));
    const [e] = await collect(t, client, d, 1);
    const p = await client.getPartitionProperties(partition);
    assert.equal(p.partitionId, partition);
    assert.equal(p.isEmpty, false);
    assert.ok(p.lastEnqueuedSequenceNumber >= e.sequenceNumber);
    assert.ok(Number(p.lastEnqueuedOffset) >= Number(e.offset));
    assert.ok(p.lastEnqueuedOnUtc >= e.enqueuedTimeUtc);
    await assert.rejects(client.getPartitionProperties('99'));
  },

  async 'all partitions'(t) {
    const client = open(t);
    const devices = await Promise.all(Array.from({ length: 16 }, (_, n) => t.device({ id: `spread-${n}` })));
    const want = new Set(await Promise.all(devices.map((d) => t.ask('publish', { id: d.id, bodies: ['x'] }))));
    assert.equal(want.size, 4);
    const got = await collect(t, client, devices, 16);
    assert.deepEqual(new Set(got.map((e) => Number(e.partition))), want);
    assert.equal(new Set(got.map((e) => e.systemProperties['iothub-connection-device-id'])).size, 16);
  },

  async 'event content'(t) {
    const client = open(t);
    const d = await t.device();
    await t.ask('publish', { id: d.id, bodies: ['{"t":21}'], app: { level: '3' },
      system: { messageId: 'm', correlationId: 'c', userId: 'u', contentType: 'application/json', contentEncoding: 'utf-8' } });
    const [e] = await collect(t, client, d, 1);
    assert.deepEqual(e.body, { t: 21 });
    assert.deepEqual(e.properties, { level: '3' });
    assert.equal(e.messageId, 'm');
    assert.equal(e.correlationId, 'c');
    assert.equal(e.contentType, 'application/json');
    assert.equal(e.partitionKey, d.id);
    assert.ok(Math.abs(Date.now() - e.enqueuedTimeUtc.getTime()) < 600000);
    assert.equal(typeof e.sequenceNumber, 'number');
    assert.equal(String(e.offset), String(e.sequenceNumber));
    const s = e.systemProperties;
    assert.equal(s['iothub-connection-device-id'], d.id);
    assert.equal(s['iothub-message-source'], 'Telemetry');
    assert.ok(s['iothub-enqueuedtime']);
    assert.equal(s.to, `/devices/${d.id}/messages/events`);
  },

  async 'start positions'(t) {
    const client = open(t);
    const d = await t.device();
    const partition = String(await t.ask('publish', { id: d.id, bodies: ['0', '1', '2', '3', '4'] }));
    const first = await collect(t, client, d, 5, { partition });
    const from = async (startPosition, want) => {
      const events = await collect(t, open(t), d, want.length, { partition }, { startPosition });
      assert.deepEqual(bodies(events), want);
    };
    await from({ offset: first[1].offset }, ['2', '3', '4']);
    await from({ offset: first[1].offset, isInclusive: true }, ['1', '2', '3', '4']);
    await from({ sequenceNumber: first[3].sequenceNumber }, ['4']);
    await from({ sequenceNumber: first[3].sequenceNumber, isInclusive: true }, ['3', '4']);
    await from({ enqueuedOn: first[0].enqueuedTimeUtc.getTime() - 1 }, ['0', '1', '2', '3', '4']);
    await from(earliestEventPosition, ['0', '1', '2', '3', '4']);
  },

  async 'latest'(t) {
    const client = open(t);
    const d = await t.device();
    const partition = String(await t.ask('publish', { id: d.id, bodies: ['before'] }));
    const got = [];
    let more;
    const s = client.subscribe(partition, {
      async processEvents(events) {
        got.push(...events.filter((e) => e.systemProperties['iothub-connection-device-id'] === d.id));
        more();
      },
      async processError(e) { t.fail(e); },
    }, { startPosition: latestEventPosition, maxWaitTimeInSeconds: 1 });
    t.after(() => s.close());
    await new Promise((resolve) => { more = resolve; }); // an empty batch: the receiver stands
    await new Promise((resolve, reject) => {
      more = () => got.length > 0 && resolve();
      t.ask('publish', { id: d.id, bodies: ['after'] }).catch(reject);
    });
    assert.deepEqual(bodies(got), ['after']);
  },

  async 'consumer groups'(t) {
    await working(t, open(t, { group: 'dashboard' }));
    await working(t, open(t, { group: '$default' }));
    const d = await t.device();
    await assert.rejects(collect(t, open(t, { group: 'nope' }), d, 1, { partition: '0' }), (e) => {
      assert.equal(e.code, 'MessagingEntityNotFoundError', e.stack);
      return true;
    });
  },

  async 'owner level steals'(t) {
    const d = await t.device();
    const partition = String(await t.ask('publish', { id: d.id, bodies: ['x'] }));
    const reader = (ownerLevel) => {
      const r = {};
      const reads = new Promise((resolve) => { r.read = resolve; });
      const lost = new Promise((resolve) => { r.lose = resolve; });
      const s = open(t).subscribe(partition, { async processEvents() { r.read(); }, async processError(e) { r.lose(e); } },
        { startPosition: earliestEventPosition, ownerLevel, maxWaitTimeInSeconds: 1 });
      t.after(() => s.close());
      return { reads, lost };
    };
    const first = reader(1);
    await first.reads;
    const second = reader(2);
    await second.reads;
    assert.equal((await first.lost).code, 'ReceiverDisconnectedError');
    assert.equal((await reader(0).lost).code, 'ReceiverDisconnectedError');
  },

  async 'runtime metrics'(t) {
    const d = await t.device();
    await t.ask('publish', { id: d.id, bodies: ['x', 'y'] });
    const [, e] = await collect(t, open(t), d, 2, {}, { trackLastEnqueuedEventProperties: true });
    assert.ok(e.last.sequenceNumber >= e.sequenceNumber);
    assert.equal(String(e.last.offset), String(e.last.sequenceNumber));
    assert.ok(e.last.enqueuedOn >= e.enqueuedTimeUtc);
    assert.ok(Math.abs(Date.now() - e.last.retrievedOn.getTime()) < 600000);
  },

  async 'SVC-255 UseDevelopmentEmulator on plain 5672'(t) {
    await working(t, open(t, { connection: `${base(t)};UseDevelopmentEmulator=true` }));
  },

  async 'over WebSockets'(t) {
    await working(t, open(t, { webSocketOptions: { webSocket: require('ws') } }));
  },

  async 'wrong key'(t) {
    await assert.rejects(open(t, { connection: base(t, Buffer.alloc(32, 7).toString('base64')) }).getEventHubProperties(), (e) => {
      assert.equal(e.code, 'UnauthorizedError', e.stack);
      return true;
    });
  },
};
