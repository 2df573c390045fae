// Connects over AMQP with the SDK's own mechanism TPM and prints "open" when the server has let it in.
// Arguments: port of the TPM, port of the server, id scope, registration id.
'use strict';
const rhea = require('rhea');
const tss = require('tss.js');
const { TpmSecurityClient } = require('azure-iot-security-tpm');
const { SaslTpm } = require('azure-iot-provisioning-device-amqp/dist/sasl_tpm');

const promise = (f) => new Promise((resolve, reject) => f((err, value) => (err ? reject(err) : resolve(value))));

async function main() {
  const [tpmPort, port, scope, id] = process.argv.slice(2);
  const tpm = new tss.Tpm(true, '127.0.0.1', Number(tpmPort));
  const client = new TpmSecurityClient(id, tpm);
  const ek = await promise((f) => client.getEndorsementKey(f));
  const srk = await promise((f) => client.getStorageRootKey(f));
  // As the SDK's own client makes its token.
  const token = (key, callback) => {
    client.activateIdentityKey(key, (err) => {
      if (err) return callback(err);
      const sr = encodeURIComponent(`${scope}/registrations/${id}`);
      const se = Math.floor(Date.now() / 1000) + 3600;
      client.signWithIdentity(Buffer.from(`${sr}\n${se}`), (err, sig) => {
        if (err) return callback(err);
        callback(null, `SharedAccessSignature sr=${sr}&sig=${encodeURIComponent(sig.toString('base64'))}&skn=registration&se=${se}`);
      });
    });
  };
  const container = rhea.create_container();
  await new Promise((resolve, reject) => {
    container.on('connection_open', (c) => { console.log('open'); c.connection.close(); });
    container.on('connection_close', resolve);
    container.on('disconnected', (c) => reject(c.error || new Error('disconnected')));
    container.on('connection_error', (c) => reject(c.connection.error));
    container.connect({ host: '127.0.0.1', port: Number(port), reconnect: false, sasl_init_hostname: `${scope}/registrations/${id}`,
      sasl_mechanisms: { TPM: new SaslTpm(scope, id, ek, srk, token) } });
  });
  tpm.close();
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
