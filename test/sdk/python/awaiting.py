"""Cases for the asyncio clients."""

import asyncio

from azure.iot.device import Message, MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient, IoTHubModuleClient
from azure.iot.device.exceptions import CredentialError

from blocking import b64, text
from driver import connection, handed


def inbox():
    """Returns a queue and a handler that fills it: the SDK runs handlers in a loop of its own."""
    got = asyncio.Queue()
    to = handed(asyncio.get_running_loop(), got)

    async def take(value):
        to.put(value)

    return got, take


class Open:
    """An open client for the length of a with block."""

    def __init__(self, t, device, host=None, key=None):
        kind = IoTHubModuleClient if device.get("module") else IoTHubDeviceClient
        self.client = kind.create_from_connection_string(connection(device, host, key), **t.options())

    async def __aenter__(self):
        try:
            await self.client.connect()
        except BaseException:
            await self.client.shutdown()
            raise
        return self.client

    async def __aexit__(self, *_):
        await self.client.shutdown()


async def case_telemetry_200_at_once(t):
    d = await t.aask("device")
    async with Open(t, d) as client:
        await asyncio.gather(*(client.send_message(str(n)) for n in range(200)))
    stored = [text(e) for e in await t.aask("events", id=d["id"], n=200)]
    assert sorted(stored, key=int) == [str(n) for n in range(200)]


async def case_telemetry_properties(t):
    d = await t.aask("device")
    m = Message("{}", message_id="m", content_encoding="utf-8", content_type="application/json")
    m.custom_properties["k 1"] = "v/2"
    async with Open(t, d) as client:
        await client.send_message(m)
    (e,) = await t.aask("events", id=d["id"], n=1)
    assert (e["app"], e["system"]["contentType"]) == ({"k 1": "v/2"}, "application/json")


async def case_c2d(t):
    d = await t.aask("device")
    got, take = inbox()
    async with Open(t, d) as client:
        client.on_message_received = take
        for n in range(5):
            await t.aask("c2d", id=d["id"], body=b64(str(n)), system={"messageId": "%s-%d" % (t.message_id, n), "ack": "full"})
        assert [(await got.get()).data.decode() for _ in range(5)] == ["0", "1", "2", "3", "4"]
        for n in range(5):
            assert (await t.aask("feedback", id=d["id"], message="%s-%d" % (t.message_id, n)))["status"] == "Success"


async def case_methods_ten_in_parallel(t):
    d = await t.aask("device")
    held = []

    async with Open(t, d) as client:

        async def handle(request):
            held.insert(0, request)
            if len(held) == 10:
                for r in held:
                    await client.send_method_response(MethodResponse.create_from_method_request(r, 200, r.payload))

        client.on_method_request_received = handle
        replies = await asyncio.gather(*(t.aask("invoke", id=d["id"], method="hold", payload=n, connect=60) for n in range(10)))
    assert replies == [{"status": 200, "payload": n} for n in range(10)]


async def case_twin(t):
    d = await t.aask("device")
    got, take = inbox()
    async with Open(t, d) as client:
        client.on_twin_desired_properties_patch_received = take
        await asyncio.gather(*(client.patch_twin_reported_properties({"k%d" % n: n}) for n in range(10)))
        await t.aask("patch", id=d["id"], patch={"properties": {"desired": {"speed": 5}}})
        assert await got.get() == {"speed": 5, "$version": 2}
        twin = await client.get_twin()
    assert twin["desired"] == {"speed": 5, "$version": 2}
    assert twin["reported"] == {**{"k%d" % n: n for n in range(10)}, "$version": 11}


async def case_module(t):
    m = await t.aask("device", module="m")
    async with Open(t, m) as client:
        await client.send_message_to_output("x", "alert")
        await client.patch_twin_reported_properties({"on": True})
    (e,) = await t.aask("events", id=m["id"] + "/m", n=1)
    assert e["system"]["output"] == "alert"


async def case_wrong_key(t):
    d = await t.aask("device")
    try:
        async with Open(t, d, key=b64("7" * 32)):
            raise AssertionError("the hub let the client in")
    except CredentialError:
        pass


async def case_connect_and_disconnect_20_times(t):
    d = await t.aask("device")
    async with Open(t, d) as client:
        for n in range(20):
            await client.send_message(str(n))
            await client.disconnect()
            await client.connect()
    assert len(await t.aask("events", id=d["id"], n=20)) == 20
