// A back end: reads the hub's events, calls a method, patches a twin, sends a
// message to a device and waits for its feedback.
//   NODE_EXTRA_CA_CERTS=nave-data/ca.pem node backend.js "<service connection string>" "<Event Hubs connection string>" DEVICE
const { EventHubConsumerClient, earliestEventPosition } = require('@azure/event-hubs');
const { Client, Registry } = require('azure-iothub');
const { Message } = require('azure-iot-common');

async function main(service, events, deviceId) {
  const consumer = new EventHubConsumerClient('$Default', events);
  let seen = 0;
  const reading = consumer.subscribe({
    processEvents: async (batch) => {
      for (const e of batch) {
        const from = e.systemProperties['iothub-connection-device-id'];
        console.log(`event of ${from}: ${JSON.stringify(e.body)}`);
        if (from === deviceId) seen++;
      }
    },
    processError: async (err) => console.error(err.message),
  }, { startPosition: earliestEventPosition });

  const registry = Registry.fromConnectionString(service);
  const twin = (await registry.getTwin(deviceId)).responseBody;
  await registry.updateTwin(deviceId, { properties: { desired: { interval: 10 } } }, twin.etag);
  console.log('desired interval is 10');

  const client = Client.fromConnectionString(service);
  const reply = await client.invokeDeviceMethod(deviceId, { methodName: 'reboot', payload: { delay: 5 }, connectTimeoutInSeconds: 30 });
  console.log(`method answered ${JSON.stringify(reply.result)}`);

  await client.open();
  const feedback = await new Promise((done, fail) => {
    client.getFeedbackReceiver((err, receiver) => (err ? fail(err) : done(receiver)));
  });
  const acknowledged = new Promise((done) => feedback.once('message', (m) => done(m.data.toString())));
  const message = new Message('hello device');
  message.messageId = 'hello-1';
  message.ack = 'full';
  await client.send(deviceId, message);
  console.log('message sent');
  console.log(`feedback: ${await acknowledged}`);

  while (seen === 0) await new Promise((next) => setTimeout(next, 100));
  await reading.close();
  await consumer.close();
  await client.close();
}

main(...process.argv.slice(2)).catch((err) => {
  console.error(err.message);
  process.exit(1);
});
