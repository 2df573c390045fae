// What can be run: an area is one transport, or the service SDK.
'use strict';

const over = (load) => () => {
  const transport = load();
  return {
    ...require('./telemetry')(transport),
    ...require('./c2d')(transport),
    ...require('./methods')(transport),
    ...require('./twin')(transport),
    ...require('./module')(transport),
    ...require('./auth')(transport),
    ...require('./reconnect')(transport),
  };
};

const amqp = (load) => () => {
  const cases = { ...over(load)(), ...require('./amqp')(load()) };
  delete cases['DEV-030 telemetry with a model id']; // this transport does not announce it
  delete cases['reconnect second client takes over']; // links are taken over one by one, of which this transport tells nothing
  return cases;
};

// provisioned are the areas of devices to be provisioned: a transport with a way
// to prove themselves.
const provisioned = () => {
  const areas = {};
  const { pairs, key, cert } = require('./provision');
  for (const [name, load] of Object.entries(pairs)) {
    areas[`dps-${name}-key`] = () => key(load());
    areas[`dps-${name}-cert`] = () => cert(load());
    areas[`dps-${name}-tpm`] = () => require('./provisiontpm')(load());
  }
  return {
    ...areas,
    'dps-service': () => require('./enrolservice'),
    'dps-hubs': () => require('./reprovision'),
    'dps-throttled': () => require('./throttled'),
  };
};

module.exports = {
  ...(process.argv[2].startsWith('dps-') && provisioned()),
  mqtt: over(() => require('azure-iot-device-mqtt').Mqtt),
  mqttws: over(() => require('azure-iot-device-mqtt').MqttWs),
  amqp: amqp(() => require('azure-iot-device-amqp').Amqp),
  amqpws: amqp(() => require('azure-iot-device-amqp').AmqpWs),
  backend: () => require('./backend')(require('azure-iothub/dist/amqp').Amqp),
  backendws: () => require('./backend')(require('azure-iothub/dist/amqp_ws').AmqpWs),
  events: () => require('./events'),
  http: () => {
    const auth = require('./auth')(require('azure-iot-device-http').Http);
    delete auth['auth GatewayHostName dials, HostName proves']; // this transport dials HostName
    return { ...require('./http'), ...auth };
  },
  service: () => ({ ...require('./registry'), ...require('./invoke') }),
};
