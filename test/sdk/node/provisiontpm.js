// Devices that prove themselves with a TPM: a software one that speaks the
// simulator's protocol.
'use strict';

const { Client } = require('azure-iot-device');
const { TpmAuthenticationProvider, TpmSecurityClient } = require('azure-iot-security-tpm');
const tss = require('tss.js');
const enrol = require('./enrol');
const { life, registration, refused, judgeError } = require('./provision');

const promise = (f) => new Promise((resolve, reject) => f((e, value) => (e ? reject(e) : resolve(value))));

// machine is a device with a TPM that is not enrolled.
async function machine(t, id) {
  const tpm = new tss.Tpm(true, '127.0.0.1', await t.ask('tpm'));
  t.after(() => tpm.close());
  const security = new TpmSecurityClient(id, tpm);
  return {
    id,
    deviceId: `${id}-device`,
    endorsementKey: (await promise((f) => security.getEndorsementKey(f))).toString('base64'),
    security: () => security,
    hub: { auth: 'sas' },
    client: (host, transport) => Client.fromAuthenticationProvider(TpmAuthenticationProvider.fromTpmSecurityClient(`${id}-device`, host, security), transport),
  };
}

const enrolled = async (t) => {
  const device = await machine(t, t.id());
  const e = await enrol.entry(t, 'individual', { registrationId: device.id, deviceId: device.deviceId,
    attestation: { type: 'tpm', tpm: { endorsementKey: device.endorsementKey } } });
  return { ...e, ...device };
};

// unknown judges the error when there is no enrolment: over HTTPS the SDK wants
// a challenge and says nothing else.
const unknown = (e, Transport) => judgeError(e, Transport, 'InvalidOperationError', 404201);

module.exports = (pair) => ({
  'DPS-277 TPM': life(pair, enrolled, unknown),

  async 'DPS-277 another TPM'(t) {
    const device = await enrolled(t);
    const other = await machine(t, device.id);
    judgeError(await refused(registration(t, pair[0], other)), pair[0], 'FormatError', 401002); // a 401 without a key
  },

  async 'DPS-277 TPM without an enrolment'(t) {
    unknown(await refused(registration(t, pair[0], await machine(t, t.id()))), pair[0]);
  },
});
