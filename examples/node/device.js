// A device: sends telemetry, listens for messages and methods, keeps its twin.
//   npm install
//   NODE_EXTRA_CA_CERTS=nave-data/ca.pem node device.js "<device connection string>" [messages]
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

async function main(connectionString, messages) {
  const client = Client.fromConnectionString(connectionString, Mqtt);
  await client.open();
  console.log('connected');

  client.on('message', async (m) => {
    console.log(`message from the cloud: ${m.getData()}`);
    await client.complete(m);
  });
  client.onDeviceMethod('reboot', async (request, response) => {
    console.log(`method reboot: ${JSON.stringify(request.payload)}`);
    await response.send(200, { rebooting: true });
  });

  const twin = await client.getTwin();
  twin.on('properties.desired', (patch) => console.log(`desired properties: ${JSON.stringify(patch)}`));
  twin.properties.reported.update({ firmware: '1.4.2' }, (err) => {
    console.log(err ? `report refused: ${err.message}` : 'reported firmware 1.4.2');
  });

  for (let n = 1; n <= messages; n++) {
    const m = new Message(JSON.stringify({ n, temperature: 20 + Math.random() }));
    m.contentType = 'application/json';
    m.contentEncoding = 'utf-8';
    await client.sendEvent(m);
    console.log(`message ${n} is on the hub's disk`);
    await new Promise((next) => setTimeout(next, 1000));
  }
  await client.close();
}

main(process.argv[2], Number(process.argv[3] || 60)).catch((err) => {
  console.error(err.message);
  process.exit(1);
});
