"""A device that provisions itself: the provisioning service tells it its hub and its name there, then it sends telemetry.

pip install azure-iot-device
SSL_CERT_FILE=nave-data/ca.pem python provision.py ENDPOINT ID-SCOPE REGISTRATION-ID KEY [messages]
"""

import asyncio
import json
import sys

from azure.iot.device import Message
from azure.iot.device.aio import IoTHubDeviceClient, ProvisioningDeviceClient


async def main(endpoint, scope, registration_id, key, messages=3):
    provisioning = ProvisioningDeviceClient.create_from_symmetric_key(
        provisioning_host=endpoint, registration_id=registration_id, id_scope=scope, symmetric_key=key
    )
    result = await provisioning.register()
    if result.status != "assigned":
        sys.exit(f"the registration ended {result.status}")
    state = result.registration_state
    print(f"assigned to {state.assigned_hub} as {state.device_id}", flush=True)

    client = IoTHubDeviceClient.create_from_symmetric_key(key, state.assigned_hub, state.device_id)
    await client.connect()
    twin = await client.get_twin()
    print("desired properties:", twin["desired"], flush=True)
    for n in range(1, int(messages) + 1):
        await client.send_message(Message(json.dumps({"n": n, "temperature": 21.5})))
        print(f"message {n} is on the hub's disk", flush=True)
    await client.shutdown()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
