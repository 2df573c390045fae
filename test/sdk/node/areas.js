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

module.exports = {
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
