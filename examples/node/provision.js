// A device that provisions itself: the provisioning service tells it its hub and its name there, then it sends telemetry.
//   npm install
//   NODE_EXTRA_CA_CERTS=nave-data/ca.pem node provision.js ENDPOINT ID-SCOPE REGISTRATION-ID KEY [messages]
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Mqtt: ProvisioningMqtt } = require('azure-iot-provisioning-device-mqtt');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

async function main(endpoint, scope, id, key, messages) {
  const security = new SymmetricKeySecurityClient(id, key);
  const provisioning = ProvisioningDeviceClient.create(endpoint, scope, new ProvisioningMqtt(), security);
  const result = await provisioning.register();
  console.log(`assigned to ${result.assignedHub} as ${result.deviceId}`);

  const client = Client.fromConnectionString(`HostName=${result.assignedHub};DeviceId=${result.deviceId};SharedAccessKey=${key}`, Mqtt);
  await client.open();
  const twin = await client.getTwin();
  console.log(`desired properties: ${JSON.stringify(twin.properties.desired)}`);
  for (let n = 1; n <= messages; n++) {
    await client.sendEvent(new Message(JSON.stringify({ n, temperature: 20 + Math.random() })));
    console.log(`message ${n} is on the hub's disk`);
  }
  await client.close();
}

main(...process.argv.slice(2, 6), Number(process.argv[6] || 3)).catch((err) => {
  console.error(err.message);
  process.exit(1);
});
