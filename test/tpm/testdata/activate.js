// Does with the SDK's own TPM client what a provisioning client does: prints the endorsement key and the storage root key,
// takes an activation blob from stdin, prints the signature of a text. All in base64, one line each.
// Arguments: port of the TPM, text to sign.
'use strict';
const readline = require('readline');
const tss = require('tss.js');
const { TpmSecurityClient } = require('azure-iot-security-tpm');

const promise = (f) => new Promise((resolve, reject) => f((err, value) => (err ? reject(err) : resolve(value))));

async function main() {
  const [port, text] = process.argv.slice(2);
  const tpm = new tss.Tpm(true, '127.0.0.1', Number(port));
  const client = new TpmSecurityClient('', tpm);
  console.log((await promise((f) => client.getEndorsementKey(f))).toString('base64'));
  console.log((await promise((f) => client.getStorageRootKey(f))).toString('base64'));
  console.log(await promise((f) => client.getRegistrationId(f)));
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  for (let line = await lines.next(); !line.done; line = await lines.next()) {
    await promise((f) => client.activateIdentityKey(Buffer.from(line.value, 'base64'), f));
    console.log((await promise((f) => client.signWithIdentity(Buffer.from(text), f))).toString('base64'));
  }
  tpm.close();
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
