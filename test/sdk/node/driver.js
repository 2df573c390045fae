// Runs the cases of one area against a hub, on the orders of the Go test that
// started this process. Lines of JSON go both ways, one value a line:
//
//   out {"cases":[name, …]}                     once, at the start
//   in  {"run":name}                            runs one case
//   out {"ask":n,"do":verb,…}                   wants something of the hub's side
//   in  {"answer":n,"value":…} or {"answer":n,"error":text,"code":number}
//   out {"case":name,"ok":bool,"ms":n,"error":text}
'use strict';

const assert = require('node:assert/strict');
const readline = require('node:readline');

const caseTimeout = 120000; // which only a case that hangs exceeds

const write = (value) => process.stdout.write(JSON.stringify(value) + '\n');
console.log = console.info = console.warn = (...a) => console.error(...a);

const hub = JSON.parse(process.env.NAVE_TEST_SDK_HUB);
const asked = new Map();
let running = null;
let asks = 0;
let ids = 0;

// Case is what a running case has at hand.
class Case {
  constructor(name) {
    this.name = name;
    this.hub = hub;
    this.messageId = name.replace(/[^a-z0-9]+/gi, '-');
    this.later = [];
    this.failed = new Promise((_, reject) => { this.fail = reject; });
    this.failed.catch(() => {});
  }

  // ask has the Go side do something and returns its answer.
  ask(verb, args = {}) {
    const n = ++asks;
    write({ ...args, ask: n, do: verb });
    return new Promise((resolve, reject) => asked.set(n, { resolve, reject }));
  }

  // id returns a registration or group id that is the case's own.
  id() { return `${process.argv[2]}-${this.messageId.toLowerCase()}`.slice(0, 50).replace(/-+$/, '') + `-${++ids}`; }

  // after runs f when the case is over, last one first.
  after(f) { this.later.push(f); }

  // device registers a device of the case's own: auth is sas or selfSigned.
  async device(args = {}) {
    const d = await this.ask('device', args);
    const ids = `DeviceId=${d.id}` + (d.module ? `;ModuleId=${d.module}` : '');
    const proof = d.cert ? 'x509=true' : `SharedAccessKey=${d.key}`;
    d.connection = (host = hub.host, secret = proof) => `HostName=${host};${ids};${secret}`;
    return d;
  }

  async end() {
    for (const f of this.later.reverse()) {
      await Promise.race([Promise.resolve().then(f).catch(() => {}), new Promise((r) => { setTimeout(r, 20000).unref(); })]);
    }
  }
}

async function run(name, body) {
  const t = new Case(name);
  running = t;
  const began = Date.now();
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${caseTimeout / 1000} s`)), caseTimeout);
  });
  let error;
  try {
    assert.ok(body, `there is no case ${name}`);
    await Promise.race([body(t), late, t.failed]);
  } catch (e) {
    error = e;
  }
  clearTimeout(timer);
  await t.end();
  running = null;
  write({ case: name, ok: !error, ms: Date.now() - began, error: error && describe(error) });
}

const describe = (e) => [e.stack || String(e), e.responseBody].filter(Boolean).join('\n');

function answer(m) {
  const { resolve, reject } = asked.get(m.answer);
  asked.delete(m.answer);
  if (m.error) {
    reject(Object.assign(new Error(`the hub's side: ${m.error}`), { code: m.code }));
  } else {
    resolve(m.value);
  }
}

const stray = (e) => (running ? running.fail(e) : console.error('between cases:', e));
process.on('unhandledRejection', stray);
process.on('uncaughtException', stray);

const cases = require('./areas')[process.argv[2]]();
write({ cases: Object.keys(cases) });
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const m = JSON.parse(line);
  if (m.run) {
    run(m.run, cases[m.run]);
  } else {
    answer(m);
  }
}).on('close', () => process.exit(0));
