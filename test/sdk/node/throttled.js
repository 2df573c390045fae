// Registrations that the service refuses for a while.
'use strict';

const assert = require('node:assert/strict');
const enrol = require('./enrol');
const { pairs, registration } = require('./provision');

// watch registers and follows the SDK's own state machine: waits is settled when
// it first waits, again tells whether it then sent the registration anew.
function watch(client) {
  const seen = { again: false };
  seen.waits = new Promise((resolve) => {
    client._pollingStateMachine._fsm.on('transition', ({ fromState, toState }) => {
      if (toState === 'waitingToPoll') {
        resolve();
      }
      seen.again ||= fromState === 'waitingToPoll' && toState === 'sendingRegistrationRequest';
    });
  });
  seen.done = client.register();
  seen.done.catch(() => {});
  return seen;
}

module.exports = {
  async 'DPS-276 clients that are refused with 429 try again and get in'(t) {
    const group = await enrol.symmetricGroup(t);
    await t.ask('limit', { perMinute: 1 });
    await t.ask('pass', { seconds: 60 }); // nothing of the last case counts any more
    const start = (Transport, n) => watch(registration(t, Transport, group.member(`${group.group}-${n}`)));
    const first = start(pairs.mqtt()[0], 'first');
    await Promise.race([first.waits, first.done]);
    await t.ask('pass', { seconds: 57 }); // so that the others are told to wait three seconds, not a minute
    const others = Object.entries(pairs).map(([name, load]) => [name, start(load()[0], name)]);
    await Promise.allSettled(others.map(([, o]) => Promise.race([o.waits, o.done])));
    await t.ask('limit', { perMinute: 0 });
    for (const [name, o] of others) {
      if (name === 'http') { // where the SDK gives up
        await assert.rejects(o.done, { name: 'ThrottlingError' });
        continue;
      }
      assert.equal((await o.done).status, 'assigned', name);
      assert.ok(o.again, `${name} was not refused`);
    }
    assert.equal((await first.done).status, 'assigned');
    assert.equal(first.again, false);
  },
};
