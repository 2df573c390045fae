// The service client of the provisioning service.
'use strict';

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');
const enrol = require('./enrol');

// A valid endorsement key: the public area of an RSA key by the usual template.
const endorsementKey = () => {
  const { n } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' });
  const policy = '837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa';
  const area = Buffer.from(`0001000b000300b20020${policy}00060080004300100800000000000100`, 'hex');
  const size = Buffer.alloc(2);
  size.writeUInt16BE(area.length + 256);
  return Buffer.concat([size, area, Buffer.from(n, 'base64url')]).toString('base64');
};

const individuals = {
  put: (s, e) => s.createOrUpdateIndividualEnrollment(e),
  get: (s, id) => s.getIndividualEnrollment(id),
  mechanism: (s, id) => s.getIndividualEnrollmentAttestationMechanism(id),
  remove: (s, ...a) => s.deleteIndividualEnrollment(...a),
  id: 'registrationId',
  exists: 409201,
  missing: 404201,
};

const groups = {
  put: (s, e) => s.createOrUpdateEnrollmentGroup(e),
  get: (s, id) => s.getEnrollmentGroup(id),
  mechanism: (s, id) => s.getEnrollmentGroupAttestationMechanism(id),
  remove: (s, ...a) => s.deleteEnrollmentGroup(...a),
  id: 'enrollmentGroupId',
  exists: 409202,
  missing: 404204,
};

// refusedWith is for assert.rejects: the error has the service's code.
const refusedWith = (code) => (e) => {
  assert.equal(JSON.parse(e.responseBody).errorCode, code);
  return true;
};

// life creates an enrolment twice, updates, reads and deletes it, once by its id
// and etag, once by the object.
const life = (kind, make, check) => async (t) => {
  const s = enrol.service(t);
  for (const byObject of [false, true]) {
    const id = t.id();
    const wanted = { [kind.id]: id, ...(await make(t, id)) };
    const made = (await kind.put(s, wanted)).responseBody;
    assert.equal(made[kind.id], id);
    assert.equal(made.provisioningStatus, 'enabled');
    assert.ok(made.etag && made.createdDateTimeUtc);
    for (const [name, value] of Object.entries(wanted)) {
      if (name !== 'attestation') {
        assert.deepEqual(made[name], value, name);
      }
    }
    await assert.rejects(kind.put(s, wanted), refusedWith(kind.exists));
    const disabled = (await kind.put(s, { ...made, provisioningStatus: 'disabled' })).responseBody;
    assert.equal(disabled.provisioningStatus, 'disabled');
    assert.notEqual(disabled.etag, made.etag);
    await assert.rejects(kind.put(s, made), refusedWith(412001));
    assert.equal((await kind.get(s, id)).responseBody.etag, disabled.etag);
    const mechanism = (await kind.mechanism(s, id)).responseBody;
    assert.equal(mechanism.type, wanted.attestation.type);
    check(mechanism, wanted, disabled);
    await assert.rejects(kind.remove(s, id, made.etag), refusedWith(412001));
    await (byObject ? kind.remove(s, disabled) : kind.remove(s, id, disabled.etag));
    await assert.rejects(kind.get(s, id), refusedWith(kind.missing));
    await assert.rejects(kind.remove(s, id), refusedWith(kind.missing));
  }
};

const keysStay = (mechanism, _, changed) => {
  assert.equal(Buffer.from(mechanism.symmetricKey.primaryKey, 'base64').length, 64);
  assert.deepEqual(mechanism.symmetricKey, changed.attestation.symmetricKey);
};

module.exports = {
  'DPS-278 individual enrolment, TPM': life(individuals, () => ({
    deviceId: 'd-1', attestation: { type: 'tpm', tpm: { endorsementKey: endorsementKey() } }, capabilities: { iotEdge: true },
    allocationPolicy: 'custom', customAllocationDefinition: { webhookUrl: 'https://www.microsoft.com', apiVersion: '2019-03-31' } }),
  (m, wanted) => assert.equal(m.tpm.endorsementKey, wanted.attestation.tpm.endorsementKey)),

  'DPS-278 individual enrolment, symmetric key': life(individuals, () => ({
    attestation: { type: 'symmetricKey', symmetricKey: { primaryKey: '', secondaryKey: '' } }, allocationPolicy: 'hashed',
    reprovisionPolicy: { migrateDeviceData: true, updateHubAssignment: true } }), keysStay),

  'DPS-278 individual enrolment, X.509': life(individuals, async (t, id) => ({
    attestation: { type: 'x509', x509: { clientCertificates: { primary: { certificate: (await t.ask('selfSigned', { id })).cert } } } } }),
  (m) => assert.equal(m.x509.clientCertificates.primary.info.version, 3)),

  'DPS-278 enrolment group, X.509': life(groups, async (t, id) => ({
    attestation: { type: 'x509', x509: { signingCertificates: { primary: { certificate: await t.ask('authority', { id }) } } } },
    allocationPolicy: 'geoLatency' }),
  (m, wanted) => assert.match(m.x509.signingCertificates.primary.info.subjectName, new RegExp(wanted.enrollmentGroupId))),

  'DPS-278 enrolment group, symmetric key': life(groups, () => ({
    attestation: { type: 'symmetricKey' }, allocationPolicy: 'static', capabilities: { iotEdge: true } }), keysStay),

  async 'DPS-278 query in pages'(t) {
    const s = enrol.service(t);
    const ids = Array.from({ length: 23 }, () => t.id());
    await Promise.all(ids.map((registrationId) => s.createOrUpdateIndividualEnrollment({ registrationId, attestation: { type: 'symmetricKey' } })));
    const { all, n } = await enrol.pages(s.createIndividualEnrollmentQuery({ query: 'SELECT * FROM enrollments' }, 10), 10);
    assert.ok(n >= 3, `${n} pages`);
    const found = all.map((e) => e.registrationId);
    assert.deepEqual(found, [...found].sort((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1)));
    assert.deepEqual(ids.filter((id) => !found.includes(id)), []);
    assert.deepEqual([...new Set(found)].length, found.length);
    const one = await enrol.pages(s.createIndividualEnrollmentQuery({ query: `SELECT * FROM enrollments WHERE registrationId = '${ids[4]}'` }), 1);
    assert.deepEqual(one.all.map((e) => e.registrationId), [ids[4]]);
    await assert.rejects(s.createIndividualEnrollmentQuery({ query: 'SELEKT' }).next(), { name: 'ArgumentError' });
    await Promise.all(ids.map((id) => s.deleteIndividualEnrollment(id)));
  },

  async 'DPS-278 query of groups in pages'(t) {
    const s = enrol.service(t);
    const ids = Array.from({ length: 5 }, () => t.id());
    await Promise.all(ids.map((enrollmentGroupId) => s.createOrUpdateEnrollmentGroup({ enrollmentGroupId, attestation: { type: 'symmetricKey' } })));
    const { all } = await enrol.pages(s.createEnrollmentGroupQuery({ query: 'SELECT * FROM enrollmentGroups' }, 2), 2);
    const found = all.map((e) => e.enrollmentGroupId);
    assert.deepEqual(ids.filter((id) => !found.includes(id)), []);
    await Promise.all(ids.map((id) => s.deleteEnrollmentGroup(id)));
  },

  async 'DPS-278 bulk'(t) {
    const s = enrol.service(t);
    const enrollments = Array.from({ length: 10 }, () => ({ registrationId: t.id(), attestation: { type: 'symmetricKey' } }));
    // The SDK settles no promise here.
    const run = (mode, list) => new Promise((resolve, reject) => {
      s.runBulkEnrollmentOperation({ mode, enrollments: list }, (e, result) => (e ? reject(e) : resolve(result)));
    });
    assert.deepEqual(await run('create', enrollments), { isSuccessful: true, errors: [] });
    const twice = await run('create', enrollments.slice(0, 2));
    assert.equal(twice.isSuccessful, false);
    assert.deepEqual(twice.errors.map((e) => [e.registrationId, e.errorCode]), enrollments.slice(0, 2).map((e) => [e.registrationId, 409201]));
    assert.equal((await run('update', enrollments.map((e) => ({ ...e, provisioningStatus: 'disabled' })))).isSuccessful, true);
    const now = (await s.getIndividualEnrollment(enrollments[0].registrationId)).responseBody;
    assert.equal(now.provisioningStatus, 'disabled');
    assert.equal((await run('updateIfMatchEtag', [{ ...now, provisioningStatus: 'enabled' }])).isSuccessful, true);
    assert.deepEqual((await run('updateIfMatchEtag', [now])).errors.map((e) => e.errorCode), [412001]);
    assert.equal((await run('delete', enrollments)).isSuccessful, true);
    assert.deepEqual((await run('delete', enrollments.slice(0, 1))).errors.map((e) => e.errorCode), [404201]);
    await assert.rejects(run('create', [...enrollments, { ...enrollments[0], registrationId: t.id() }]), { name: 'ArgumentError' });
  },

  async 'DPS-278 registration state is read and deleted'(t) {
    const { pairs, register } = require('./provision');
    const device = await enrol.symmetric(t);
    const s = enrol.service(t);
    await assert.rejects(s.getDeviceRegistrationState(device.id), refusedWith(404202));
    const told = await register(t, pairs.http()[0], device);
    const state = (await s.getDeviceRegistrationState(device.id)).responseBody;
    assert.equal(state.etag, told.etag);
    await assert.rejects(s.deleteDeviceRegistrationState(device.id, '"other"'), refusedWith(412001));
    await s.deleteDeviceRegistrationState(state);
    await assert.rejects(s.getDeviceRegistrationState(device.id), refusedWith(404202));
    assert.equal((await t.ask('identity', { hub: told.assignedHub, id: device.deviceId })).auth, 'sas');
  },

  async 'DPS-278 wrong key of the policy'(t) {
    const s = ProvisioningServiceClient.fromConnectionString(t.hub.dpsOwner.replace(/SharedAccessKey=.*/, `SharedAccessKey=${Buffer.alloc(64).toString('base64')}`));
    await assert.rejects(s.getIndividualEnrollment('x'), { name: 'UnauthorizedError' });
  },
};
