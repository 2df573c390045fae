"""A device: sends telemetry, listens for messages and methods, keeps its twin.

pip install azure-iot-device
python device.py "<device connection string>" nave-data/ca.pem [messages]
"""

import asyncio
import json
import sys

from azure.iot.device import Message, MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient


async def main(connection_string, ca_file, messages):
    with open(ca_file) as f:
        client = IoTHubDeviceClient.create_from_connection_string(connection_string, server_verification_cert=f.read())
    await client.connect()
    print("connected", flush=True)

    async def on_message(message):
        print("message from the cloud:", message.data.decode(), flush=True)

    async def on_method(request):
        print("method", request.name, request.payload, flush=True)
        await client.send_method_response(MethodResponse.create_from_method_request(request, 200, {"rebooting": True}))

    client.on_message_received = on_message
    client.on_method_request_received = on_method
    client.on_twin_desired_properties_patch_received = lambda patch: print("desired properties:", patch, flush=True)
    await client.patch_twin_reported_properties({"firmware": "1.4.2"})
    print("reported firmware 1.4.2", flush=True)

    for n in range(1, messages + 1):
        message = Message(json.dumps({"n": n, "temperature": 21.5}), content_encoding="utf-8", content_type="application/json")
        await client.send_message(message)
        print(f"message {n} is on the hub's disk", flush=True)
        await asyncio.sleep(1)
    await client.shutdown()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 60))
