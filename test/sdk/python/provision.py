"""The life of devices that are provisioned, with the synchronous and the asyncio clients."""

import asyncio
import base64
import hashlib
import hmac
import logging
import os
import re
import ssl
import tempfile

from azure.iot.device import X509, IoTHubDeviceClient, ProvisioningDeviceClient, aio

KINDS = {
    "sync": (ProvisioningDeviceClient, IoTHubDeviceClient),
    "async": (aio.ProvisioningDeviceClient, aio.IoTHubDeviceClient),
}


class Kind:
    """One kind of clients over one transport, in a case."""

    def __init__(self, t, kind):
        self.t, self.kind = t, kind
        self.provisioning, self.device = KINDS[kind]

    async def do(self, f, *args):
        """Calls a method of a client."""
        if self.kind == "sync":
            return await asyncio.to_thread(f, *args)
        return await f(*args)

    async def register(self, device):
        """Registers a device with a client that is used once and returns the result."""
        return await self.do(device.registration(self).register)

    async def refused(self, device):
        """Returns what a register that must fail says."""
        try:
            result = await self.register(device)
        except Exception as e:
            return "%r %r" % (e, e.__cause__)
        raise AssertionError("the device was let in: %s" % result)

    async def sends(self, device, host):
        """Has a device connect to its hub and send telemetry, which arrives."""
        client = device.client(self, host)
        try:
            await self.do(client.connect)
            assert (await self.do(client.get_twin))["desired"]["testProp"] == self.t.message_id
            await self.do(client.send_message, "telemetry")
        finally:
            await self.do(client.shutdown)
        (e,) = await self.t.aask("events", hub=host, id=device.device_id, n=1)
        assert base64.b64decode(e["body"]) == b"telemetry"


class Device:
    """A device with a key or a certificate, and its enrolment."""

    def __init__(self, t, path, body, device_id, registration_id):
        self.t, self.path, self.body, self.device_id, self.id = t, path, body, device_id, registration_id
        self.key = self.x509 = None

    async def call(self, method, body=None, etag=None):
        args = {"body": body} if body is not None else {}
        answer = await self.t.aask("dps", method=method, path=self.path, etag=etag or "", **args)
        assert answer["status"] in (200, 204), answer
        return answer["body"]

    async def enrol(self):
        twin = {"tags": {"floor": 3}, "properties": {"desired": {"testProp": self.t.message_id}}}
        return await self.call("PUT", {"initialTwin": twin, **self.body})

    async def disable(self):
        now = await self.call("GET")
        await self.call("PUT", {**now, "provisioningStatus": "disabled"}, now["etag"])

    async def remove(self):
        await self.call("DELETE")

    def identify(self, made):
        """Keeps a certificate in files, where the SDK reads it."""
        files = []
        for text in (made["cert"], made["key"]):
            with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as f:
                f.write(text)
            files.append(f.name)
            self.t.later.append(lambda name=f.name: os.remove(name))
        self.x509 = X509(*files)
        der = ssl.PEM_cert_to_DER_cert(re.search("-----BEGIN.*?-----END CERTIFICATE-----", made["cert"], re.S).group(0))
        self.thumbprint = hashlib.sha1(der).hexdigest().upper()

    def registration(self, k, **more):
        args = {"provisioning_host": self.t.hub["dps"], "registration_id": self.id, "id_scope": self.t.hub["scope"]}
        options = self.t.options(**more)
        del options["connection_retry_interval"]
        if self.key:
            return k.provisioning.create_from_symmetric_key(symmetric_key=self.key, **args, **options)
        return k.provisioning.create_from_x509_certificate(x509=self.x509, **args, **options)

    def client(self, k, host):
        if self.key:
            return k.device.create_from_symmetric_key(symmetric_key=self.key, hostname=host, device_id=self.device_id, **self.t.options())
        return k.device.create_from_x509_certificate(x509=self.x509, hostname=host, device_id=self.device_id, **self.t.options())


def individual(t, registration_id, attestation, device_id=None):
    body = {"registrationId": registration_id, "attestation": attestation}
    if device_id:
        body["deviceId"] = device_id
    return Device(t, "/enrollments/" + registration_id, body, device_id or registration_id, registration_id)


def group(t, name, attestation):
    d = Device(t, "/enrollmentGroups/" + name, {"enrollmentGroupId": name, "attestation": attestation}, name + "-1", name + "-1")
    return d


async def symmetric(t, device_id=None):
    d = individual(t, t.id(), {"type": "symmetricKey"}, device_id)
    d.key = (await d.enrol())["attestation"]["symmetricKey"]["primaryKey"]
    return d


async def symmetric_named(t):
    return await symmetric(t, t.id() + "-device")


async def symmetric_group(t):
    d = group(t, t.id(), {"type": "symmetricKey"})
    master = base64.b64decode((await d.enrol())["attestation"]["symmetricKey"]["primaryKey"])
    d.key = base64.b64encode(hmac.digest(master, d.id.encode(), "sha256")).decode()
    return d


async def x509(t):
    name = t.id()
    made = await t.aask("selfSigned", id=name)
    d = individual(t, name, {"type": "x509", "x509": {"clientCertificates": {"primary": {"certificate": made["cert"]}}}}, name + "-device")
    await d.enrol()
    d.identify(made)
    return d


async def x509_group(t):
    name = t.id()
    root = await t.aask("authority", id=name)
    d = group(t, name, {"type": "x509", "x509": {"signingCertificates": {"primary": {"certificate": root}}}})
    await d.enrol()
    d.identify(await t.aask("leaf", root=name, id=d.id, between=1))
    return d


def life(kind, make):
    """Takes a device through everything: registered, connected, registered again, disabled, deleted."""

    async def case(t):
        k = Kind(t, kind)
        d = await make(t)
        result = await k.register(d)
        state = result.registration_state
        assert (result.status, state.sub_status, state.device_id) == ("assigned", "initialAssignment", d.device_id), result
        assert state.assigned_hub in (t.hub["host"], t.hub["second"]), state.assigned_hub
        at = {"hub": state.assigned_hub, "id": d.device_id}
        identity = await t.aask("identity", **at)
        assert (identity["auth"], identity["key"]) == (("sas", d.key) if d.key else ("selfSigned", "")), identity
        if d.x509:
            assert identity["thumbprint"] == d.thumbprint
        assert (await t.aask("twin", **at))["tags"] == {"floor": 3}
        await k.sends(d, state.assigned_hub)
        again = (await k.register(d)).registration_state
        assert (again.assigned_hub, again.device_id, again.created_date_time) == (state.assigned_hub, state.device_id, state.created_date_time)
        await d.disable()
        said = await k.refused(d)
        assert "invalid registration status disabled with a status code of 200" in said, said
        await d.remove()
        said = await k.refused(d)
        assert "register request returned a service error status code 401" in said, said

    return case


def wrong_key(kind):
    async def case(t):
        k = Kind(t, kind)
        d = await symmetric(t)
        d.key = base64.b64encode(bytes(64)).decode()
        said = await k.refused(d)
        assert "register request returned a service error status code 401" in said, said

    return case


def wrong_certificate(kind):
    async def case(t):
        k = Kind(t, kind)
        d = await x509(t)
        d.identify(await t.aask("selfSigned", id=d.id))
        said = await k.refused(d)
        assert "register request returned a service error status code 401" in said, said

    return case


class Waits(logging.Handler):
    """Counts how often the SDK says that it waits before it registers anew."""

    def __init__(self, loop, want):
        super().__init__(logging.DEBUG)
        self.loop, self.want, self.all = loop, want, asyncio.Event()

    def emit(self, record):
        if "needs retry with interval" in record.getMessage():
            self.want -= 1
            if self.want == 0:
                self.loop.call_soon_threadsafe(self.all.set)


async def throttled(t):
    """Clients that are refused with 429 try again and get in."""
    first, *others = [await symmetric(t) for _ in range(1 + len(KINDS))]
    waits = Waits(asyncio.get_running_loop(), len(others))
    logger = logging.getLogger("azure.iot.device.provisioning.pipeline.pipeline_stages_provisioning")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(waits)
    await t.aask("limit", perMinute=1)
    await t.aask("pass", seconds=60)  # nothing of the last case counts any more
    await Kind(t, "sync").register(first)
    await t.aask("pass", seconds=57)  # so that the others are told to wait three seconds, not a minute
    running = [asyncio.ensure_future(Kind(t, kind).register(d)) for kind, d in zip(KINDS, others)]
    waiting = asyncio.ensure_future(waits.all.wait())
    await asyncio.wait([waiting, *running], return_when=asyncio.FIRST_COMPLETED)
    assert waiting.done(), "a client was not refused"
    await t.aask("limit", perMinute=0)
    for r in running:
        assert (await r).status == "assigned"


def load(area):
    """Returns the cases of an area dps-<transport>-<kind>-<proof>, and whether they use WebSockets."""
    if area == "dps-throttled":
        return {"DPS-279 clients that are refused with 429 try again and get in": throttled}, False
    _, transport, kind, proof = area.split("-")
    cases = {
        "key": {
            "DPS-279 symmetric key, individual": life(kind, symmetric),
            "DPS-279 symmetric key, individual with a device id": life(kind, symmetric_named),
            "DPS-279 symmetric key, group": life(kind, symmetric_group),
            "DPS-279 wrong key": wrong_key(kind),
        },
        "cert": {
            "DPS-279 X.509, individual": life(kind, x509),
            "DPS-279 X.509, group with an intermediate": life(kind, x509_group),
            "DPS-279 X.509, another certificate": wrong_certificate(kind),
        },
    }
    return cases[proof], transport == "mqttws"
