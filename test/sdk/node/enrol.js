// Devices before they are provisioned: what they prove themselves with, and
// their enrolment, individual or as members of a group.
'use strict';

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { Client } = require('azure-iot-device');
const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { X509Security } = require('azure-iot-security-x509');

const service = (t) => ProvisioningServiceClient.fromConnectionString(t.hub.dpsOwner);

// twin is the initial twin of every enrolment.
const twin = (t) => ({ tags: { case: t.name, count: 3 }, properties: { desired: { testProp: t.messageId } } });

// entry makes an enrolment and says how to disable and delete it.
async function entry(t, kind, body) {
  const svc = service(t);
  const group = kind === 'group';
  const put = (e) => (group ? svc.createOrUpdateEnrollmentGroup(e) : svc.createOrUpdateIndividualEnrollment(e));
  const made = (await put({ initialTwin: twin(t), ...body })).responseBody;
  const get = async () => (group ? await svc.getEnrollmentGroup(body.enrollmentGroupId) : await svc.getIndividualEnrollment(body.registrationId)).responseBody;
  const change = async (more) => put({ ...(await get()), ...more });
  return {
    made,
    change,
    disable: () => change({ provisioningStatus: 'disabled' }),
    remove: () => (group ? svc.deleteEnrollmentGroup(body.enrollmentGroupId) : svc.deleteIndividualEnrollment(body.registrationId)),
  };
}

const derived = (key, id) => crypto.createHmac('sha256', Buffer.from(key, 'base64')).update(id).digest('base64');
const thumbprint = (cert) => new crypto.X509Certificate(cert).fingerprint.replaceAll(':', '');

// byKey is a device with a key: how it registers, and what it has at the hub.
const byKey = (id, key, deviceId) => ({
  id,
  deviceId,
  key,
  security: () => new SymmetricKeySecurityClient(id, key),
  hub: { auth: 'sas', key },
  client: (host, transport) => Client.fromConnectionString(`HostName=${host};DeviceId=${deviceId};SharedAccessKey=${key}`, transport),
});

const byCertificate = (id, made, deviceId) => ({
  id,
  deviceId,
  security: () => new X509Security(id, { cert: made.cert, key: made.key }),
  cert: made.cert,
  certKey: made.key,
  hub: { auth: 'selfSigned', thumbprint: thumbprint(made.cert) },
  client: (host, transport) => Client.fromConnectionString(`HostName=${host};DeviceId=${deviceId};x509=true`, transport),
});

const symmetric = async (t, more = {}) => {
  const id = t.id();
  const e = await entry(t, 'individual', { registrationId: id, deviceId: `${id}:device`, attestation: { type: 'symmetricKey' }, ...more });
  return { ...e, ...byKey(id, e.made.attestation.symmetricKey.primaryKey, `${id}:device`) };
};

// symmetricGroup makes a group of devices with derived keys; member returns one.
const symmetricGroup = async (t, more = {}) => {
  const group = t.id();
  const e = await entry(t, 'group', { enrollmentGroupId: group, attestation: { type: 'symmetricKey' }, ...more });
  const key = e.made.attestation.symmetricKey.primaryKey;
  const member = (id) => byKey(id, derived(key, id), id);
  return { ...e, ...member(`${group}-1`), group, groupKey: key, member };
};

const x509 = async (t) => {
  const id = t.id();
  const made = await t.ask('selfSigned', { id });
  const e = await entry(t, 'individual', { registrationId: id, deviceId: `${id}-device`,
    attestation: { type: 'x509', x509: { clientCertificates: { primary: { certificate: made.cert } } } } });
  return { ...e, ...byCertificate(id, made, `${id}-device`) };
};

// x509Group is a device two intermediate authorities below the root that the
// group trusts, which was uploaded and verified.
const x509Group = async (t) => {
  const group = t.id();
  const root = await t.ask('authority', { id: group });
  const id = `${group}-1`;
  const made = await t.ask('leaf', { root: group, id, between: 2 });
  const e = await entry(t, 'group', { enrollmentGroupId: group, attestation: { type: 'x509', x509: { signingCertificates: { primary: { certificate: root } } } } });
  return { ...e, ...byCertificate(id, made, id), group };
};

// x509Below is a device whose group trusts an intermediate authority below an
// uploaded root.
const x509Below = async (t) => {
  const group = t.id();
  await t.ask('authority', { id: group });
  const id = `${group}-1`;
  const made = await t.ask('leaf', { root: group, id, between: 1 });
  const e = await entry(t, 'group', { enrollmentGroupId: group, attestation: { type: 'x509', x509: { signingCertificates: { primary: { certificate: made.signer } } } } });
  return { ...e, ...byCertificate(id, made, id), group };
};

// pages reads a query to its end.
async function pages(query, size) {
  const all = [];
  let n = 0;
  while (query.hasMoreResults) {
    const items = (await query.next(query.continuationToken)).responseBody; // without it the SDK starts anew
    assert.ok(items.length <= size, `${items.length} on a page`);
    all.push(...items);
    n++;
  }
  return { all, n };
}

module.exports = { pages, service, twin, entry, derived, byKey, symmetric, symmetricGroup, x509, x509Group, x509Below };
