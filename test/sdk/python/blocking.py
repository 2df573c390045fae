"""Cases for the synchronous clients."""

import base64
import hashlib
import hmac
import queue
import tempfile
import threading
import time
import uuid
from urllib.parse import quote

from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, Message, MethodResponse, X509
from azure.iot.device.exceptions import ClientError, CredentialError

from driver import connection

WAIT = 100  # for what comes


def b64(text):
    return base64.b64encode(text.encode()).decode()


def text(event):
    return base64.b64decode(event["body"]).decode()


def open_client(t, device, host=None, key=None, **more):
    kind = IoTHubModuleClient if device.get("module") else IoTHubDeviceClient
    return opened(t, kind.create_from_connection_string(connection(device, host, key), **t.options(**more)))


def opened(t, client):
    t.later.append(client.shutdown)
    client.connect()
    return client


def refused(t, device, **args):
    """Returns the error of a client that may not come in."""
    client = None
    try:
        client = open_client(t, device, **args)
    except ClientError as e:
        return e
    raise AssertionError("the hub let the client in: %s" % client)


def case_connect_and_disconnect(t):
    client = open_client(t, t.device())
    assert client.connected
    client.disconnect()
    assert not client.connected
    client.connect()
    assert client.connected


def case_telemetry(t):
    d = t.device()
    client = open_client(t, d)
    client.send_message("just text ü")
    m = Message(b"\x00\x01\xfe\xff", message_id="m-1", content_encoding="utf-8", content_type="application/json; charset=utf-8")
    m.correlation_id, m.user_id = "c:2+", "u 3"
    app = {"plain": "value", "with space": "a b  c", "sign/&=?%+#$": "100 %/&=?+#$", "empty": "", "ümläut": "größe €"}
    m.custom_properties.update(app)
    client.send_message(m)
    first, second = t.ask("events", id=d["id"], n=2)
    assert text(first) == "just text ü", first
    assert base64.b64decode(second["body"]) == b"\x00\x01\xfe\xff"
    assert second["app"] == app, second["app"]
    assert second["system"] == {"messageId": "m-1", "correlationId": "c:2+", "userId": "u 3", "contentType": "application/json; charset=utf-8",
                                "contentEncoding": "utf-8"}, second["system"]


def case_telemetry_connects_by_itself(t):
    d = t.device()
    client = IoTHubDeviceClient.create_from_connection_string(connection(d), **t.options())
    t.later.append(client.shutdown)
    client.send_message("x")
    t.ask("events", id=d["id"], n=1)


def case_telemetry_255_KiB(t):
    d = t.device()
    body = "x" * (255 * 1024)
    open_client(t, d).send_message(body)
    assert text(t.ask("events", id=d["id"], n=1)[0]) == body


def case_telemetry_over_256_KiB(t):
    client = open_client(t, t.device())
    try:
        client.send_message("x" * (256 * 1024 + 1))
    except ValueError:
        return
    raise AssertionError("the SDK took it")


def case_c2d(t):
    d = t.device()
    client = open_client(t, d)
    got = queue.Queue()
    client.on_message_received = got.put
    app = {"plain": "value", "key-2": "a b", "sign&%+#$'*": "1/2&3=4%5+6#$", "utf": "größe €"}
    t.ask("c2d", id=d["id"], body=b64("hello ü"), app=app, system={"messageId": t.message_id, "correlationId": "c:1", "userId": "u 2",
          "contentType": "text/plain", "contentEncoding": "utf-8", "ack": "full"})
    m = got.get(timeout=WAIT)
    assert m.data.decode() == "hello ü"
    assert {k: v for k, v in m.custom_properties.items() if k in app} == app, m.custom_properties
    assert (m.message_id, m.correlation_id, m.user_id, m.content_type, m.content_encoding) == (t.message_id, "c:1", "u 2", "text/plain", "utf-8")
    assert t.ask("feedback", id=d["id"], message=t.message_id)["status"] == "Success"


def case_c2d_that_waited(t):
    d = t.device()
    for n in range(10):
        t.ask("c2d", id=d["id"], body=b64(str(n)))
    client = open_client(t, d)
    got = queue.Queue()
    client.on_message_received = got.put
    assert [got.get(timeout=WAIT).data.decode() for _ in range(10)] == [str(n) for n in range(10)]


def case_methods(t):
    d = t.device()
    client = open_client(t, d)

    def handle(request):
        status = {"missing": 404, "broken": 500}.get(request.name, 200)
        client.send_method_response(MethodResponse.create_from_method_request(request, status, request.payload))

    client.on_method_request_received = handle

    def invoke(method, *payload):
        args = {"payload": payload[0]} if payload else {}
        return t.ask("invoke", id=d["id"], method=method, connect=60, **args)

    for p in ({"a": {"b": [1, "x", None, True]}}, "text", "", 0, 42.5, False, [], {}, "ü€文", None):
        assert invoke("echo", p) == {"status": 200, "payload": p}, p
    assert invoke("echo") == {"status": 200, "payload": None}
    assert invoke("missing", {}) == {"status": 404, "payload": {}}
    assert invoke("broken", 1) == {"status": 500, "payload": 1}


def case_twin(t):
    d = t.device()
    t.ask("patch", id=d["id"], patch={"tags": {"hidden": 1}, "properties": {"desired": {"a": {"b": 1}, "s": "ü"}}})
    client = open_client(t, d)
    assert client.get_twin() == {"desired": {"a": {"b": 1}, "s": "ü", "$version": 2}, "reported": {"$version": 1}}
    client.patch_twin_reported_properties({"fan": {"on": True, "speed": 3}, "name": "x"})
    client.patch_twin_reported_properties({"fan": {"speed": None}, "name": None})
    reported = t.ask("twin", id=d["id"])["properties"]["reported"]
    assert (reported["fan"], reported.get("name"), reported["$version"]) == ({"on": True}, None, 3), reported


def case_twin_desired_updates(t):
    d = t.device()
    client = open_client(t, d)
    got = queue.Queue()
    client.on_twin_desired_properties_patch_received = got.put
    t.ask("patch", id=d["id"], patch={"properties": {"desired": {"speed": 5, "gone": "x"}}})
    assert got.get(timeout=WAIT) == {"speed": 5, "gone": "x", "$version": 2}
    t.ask("patch", id=d["id"], patch={"properties": {"desired": {"gone": None}}})
    assert got.get(timeout=WAIT) == {"gone": None, "$version": 3}


def case_twin_bad_key(t):
    d = t.device()
    client = open_client(t, d)
    try:
        client.patch_twin_reported_properties({"$bad": 1})
    except ClientError as e:
        assert "400" in str(e.__cause__), repr(e.__cause__)
    else:
        raise AssertionError("the hub took it")
    assert t.ask("twin", id=d["id"])["properties"]["reported"]["$version"] == 1


def case_module(t):
    m = t.device(module="m")
    name = m["id"] + "/m"
    client = open_client(t, m)
    client.send_message("from a module")
    out = Message("out")
    client.send_message_to_output(out, "alert")
    events = t.ask("events", id=name, n=2)
    assert [(text(e), e["system"].get("output")) for e in events] == [("from a module", None), ("out", "alert")]
    client.on_method_request_received = lambda r: client.send_method_response(MethodResponse.create_from_method_request(r, 201, r.payload))
    assert t.ask("invoke", id=name, method="echo", payload=7, connect=60) == {"status": 201, "payload": 7}
    client.patch_twin_reported_properties({"on": True})
    assert t.ask("twin", id=name)["properties"]["reported"]["on"] is True


def case_self_signed_certificate(t):
    d = t.device(auth="selfSigned")
    with tempfile.NamedTemporaryFile("w") as cert, tempfile.NamedTemporaryFile("w") as key:
        for f, content in ((cert, d["cert"]), (key, d["certKey"])):
            f.write(content)
            f.flush()
        client = opened(t, IoTHubDeviceClient.create_from_x509_certificate(
            X509(cert.name, key.name), t.hub["host"], d["id"], **t.options()))
        client.send_message("x")
    t.ask("events", id=d["id"], n=1)


def case_wrong_key(t):
    assert isinstance(refused(t, t.device(), key=b64("7" * 32)), CredentialError)


def case_unknown_device(t):
    assert isinstance(refused(t, {"id": "nobody", "key": b64("7" * 32)}), CredentialError)


def case_expired_token(t):
    d = t.device()
    try:
        client = IoTHubDeviceClient.create_from_sastoken(sas(t, d, -600), **t.options())
        opened(t, client)
    except (ClientError, ValueError):
        return
    raise AssertionError("the hub let the client in")


def sas(t, d, life):
    resource, until = quote("%s/devices/%s" % (t.hub["host"], d["id"]), safe=""), int(time.time()) + life
    proof = hmac.new(base64.b64decode(d["key"]), ("%s\n%d" % (resource, until)).encode(), hashlib.sha256).digest()
    return "SharedAccessSignature sr=%s&sig=%s&se=%d" % (resource, quote(base64.b64encode(proof).decode(), safe=""), until)


def case_update_sastoken(t):
    d = t.device()
    client = opened(t, IoTHubDeviceClient.create_from_sastoken(sas(t, d, 300), **t.options()))
    client.send_message("before")
    client.update_sastoken(sas(t, d, 3600))
    client.send_message("after")
    assert [text(e) for e in t.ask("events", id=d["id"], n=2)] == ["before", "after"]


def case_gateway_hostname(t):
    d = t.device()
    client = opened(t, IoTHubDeviceClient.create_from_connection_string(
        connection(d, t.hub["name"]) + ";GatewayHostName=" + t.hub["host"], **t.options()))
    client.send_message("x")
    t.ask("events", id=d["id"], n=1)


def case_untrusted_server(t):
    assert not isinstance(refused(t, t.device(), host=t.hub["untrusted"]), CredentialError)
    assert t.ask("untrusted") == 0


def case_reconnect(t):
    d = t.device()
    client = open_client(t, d, host=t.hub["proxy"])
    patches, c2d = queue.Queue(), queue.Queue()
    client.on_method_request_received = lambda r: client.send_method_response(MethodResponse.create_from_method_request(r, 200, r.payload))
    client.on_twin_desired_properties_patch_received = patches.put
    client.on_message_received = c2d.put
    states = queue.Queue()
    client.on_connection_state_change = lambda: states.put(client.connected)
    sent = []
    for _ in range(2):
        for _ in range(5):
            sent.append(uuid.uuid4().hex)
            client.send_message(sent[-1])
        t.ask("cut")
        # Each cut has the handler called twice, late and in threads of the SDK: either call may be the one that sees the connection
        # restored, or both.
        assert any([states.get(timeout=WAIT), states.get(timeout=WAIT)])
        sent.append(uuid.uuid4().hex)
        client.send_message(sent[-1])
    stored = {text(e) for e in t.ask("eventsUntil", id=d["id"], body=b64(sent[-1]))}
    assert not set(sent) - stored
    assert t.ask("invoke", id=d["id"], method="echo", payload=1, connect=60) == {"status": 200, "payload": 1}
    t.ask("patch", id=d["id"], patch={"properties": {"desired": {"step": 1}}})
    assert patches.get(timeout=WAIT)["step"] == 1
    t.ask("c2d", id=d["id"], body=b64("back"))
    assert c2d.get(timeout=WAIT).data == b"back"


def case_reconnect_sends_again(t):
    d = t.device()
    client = open_client(t, d, host=t.hub["proxy"])
    client.send_message("first")
    t.ask("hold")
    acked = threading.Event()
    sender = threading.Thread(target=lambda: (client.send_message("unacknowledged"), acked.set()), daemon=True)
    sender.start()
    t.ask("events", id=d["id"], n=2)
    assert not acked.is_set()
    t.ask("cut")
    assert acked.wait(WAIT)
    client.send_message("end")
    events = [text(e) for e in t.ask("eventsUntil", id=d["id"], body=b64("end"))]
    assert events == ["first", "unacknowledged", "unacknowledged", "end"], events
