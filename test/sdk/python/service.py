"""Cases for the service SDK, as far as it speaks REST."""

import base64
import itertools
import json

from azure.iot.device import IoTHubDeviceClient, MethodResponse
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, ExportImportDevice, AuthenticationMechanism, SymmetricKey, Twin, TwinProperties
from msrest.exceptions import HttpOperationError

from driver import connection

numbers = itertools.count(1)
KEYS = [base64.b64encode(bytes([n]) * 32).decode() for n in range(8)]


def registry(t, policy="iothubowner", key=None):
    return IoTHubRegistryManager.from_connection_string(
        "HostName=%s;SharedAccessKeyName=%s;SharedAccessKey=%s" % (t.hub["host"], policy, key or t.hub["ownerKey"]))


def unique(t):
    return "%s-%d" % (t.message_id, next(numbers))


def fails(status, f, *args, **more):
    """Checks that a call is refused with the status."""
    try:
        f(*args, **more)
    except HttpOperationError as e:
        assert e.response.status_code == status, (e.response.status_code, e.response.text)
        return
    raise AssertionError("the hub took it")


def case_devices(t):
    r, name = registry(t), unique(t)
    made = r.create_device_with_sas(name, KEYS[0], KEYS[1], "enabled")
    assert (made.device_id, made.authentication.symmetric_key.primary_key) == (name, KEYS[0])
    fails(409, r.create_device_with_sas, name, KEYS[0], KEYS[1], "enabled")
    got = r.get_device(name)
    assert (got.etag, got.status, got.connection_state) == (made.etag, "enabled", "Disconnected")
    changed = r.update_device_with_sas(name, got.etag, KEYS[2], KEYS[3], "disabled", status_reason="testing")
    assert (changed.status, changed.status_reason) == ("disabled", "testing")
    fails(412, r.update_device_with_sas, name, got.etag, KEYS[4], KEYS[5], "enabled")
    assert name in [d.device_id for d in r.get_devices(1000)]
    fails(412, r.delete_device, name, got.etag)
    r.delete_device(name)
    fails(404, r.get_device, name)
    fails(404, r.delete_device, name)


def case_devices_with_certificates(t):
    r = registry(t)
    made = r.create_device_with_x509(unique(t), "A1" * 20, "B2" * 20, "enabled")
    assert (made.authentication.type, made.authentication.x509_thumbprint.secondary_thumbprint) == ("selfSigned", "B2" * 20)
    made = r.create_device_with_certificate_authority(unique(t), "enabled")
    assert made.authentication.type == "certificateAuthority"


def case_bulk(t):
    r = registry(t)
    names = [unique(t) for _ in range(5)]
    auth = AuthenticationMechanism(type="sas", symmetric_key=SymmetricKey(primary_key=KEYS[0], secondary_key=KEYS[1]))
    devices = [ExportImportDevice(id=n, status="enabled", authentication=auth, import_mode="create") for n in names]
    done = r.bulk_create_or_update_devices(devices)
    assert done.is_successful and not done.errors, done
    for d in devices:
        d.import_mode = "delete"
    assert r.bulk_create_or_update_devices(devices).is_successful
    fails(404, r.get_device, names[0])


def case_statistics(t):
    r = registry(t)
    before = r.get_device_registry_statistics()
    r.create_device_with_sas(unique(t), KEYS[0], KEYS[1], "disabled")
    after = r.get_device_registry_statistics()
    assert after.total_device_count >= before.total_device_count + 1, after
    assert after.disabled_device_count >= before.disabled_device_count + 1, after
    assert r.get_service_statistics().connected_device_count >= 0


def case_modules(t):
    r, name = registry(t), unique(t)
    r.create_device_with_sas(name, KEYS[0], KEYS[1], "enabled")
    made = r.create_module_with_sas(name, "m", "someone", KEYS[2], KEYS[3])
    assert (made.module_id, made.managed_by) == ("m", "someone")
    fails(409, r.create_module_with_sas, name, "m", "", KEYS[2], KEYS[3])
    changed = r.update_module_with_sas(name, "m", "", made.etag, KEYS[4], KEYS[5])
    assert changed.authentication.symmetric_key.primary_key == KEYS[4]
    fails(412, r.update_module_with_sas, name, "m", "", made.etag, KEYS[6], KEYS[7])
    assert [m.module_id for m in r.get_modules(name)] == ["m"]
    twin = r.update_module_twin(name, "m", Twin(properties=TwinProperties(desired={"on": True})))
    assert r.get_module_twin(name, "m").properties.desired["on"] is True, twin
    r.delete_module(name, "m")
    fails(404, r.get_module, name, "m")


def case_twins(t):
    r, name = registry(t), unique(t)
    r.create_device_with_sas(name, KEYS[0], KEYS[1], "enabled")
    twin = r.get_twin(name)
    one = r.update_twin(name, Twin(tags={"a": 1}, properties=TwinProperties(desired={"b": {"c": 2}})), twin.etag)
    assert (one.tags, one.properties.desired["b"], one.version) == ({"a": 1}, {"c": 2}, 3)
    fails(412, r.update_twin, name, Twin(tags={"a": 2}), twin.etag)
    fails(400, r.update_twin, name, Twin(tags={"a.b": 2}))
    two = r.replace_twin(name, Twin(tags={"z": 1}, properties=TwinProperties(desired={})), one.etag)
    assert (two.tags, "b" in two.properties.desired) == ({"z": 1}, False)
    fails(404, r.get_twin, "none")


def case_methods(t):
    r, d = registry(t, "service", t.hub["serviceKey"]), t.device()
    call = CloudToDeviceMethod(method_name="echo", payload={"a": 1}, response_timeout_in_seconds=60, connect_timeout_in_seconds=60)
    client = IoTHubDeviceClient.create_from_connection_string(connection(d), **t.options())
    t.later.append(client.shutdown)
    client.connect()
    client.on_method_request_received = lambda q: client.send_method_response(MethodResponse.create_from_method_request(q, 299, q.payload))
    answer = r.invoke_device_method(d["id"], call)
    assert (answer.status, answer.payload) == (299, {"a": 1}), json.dumps(answer.as_dict())
    client.disconnect()
    call.connect_timeout_in_seconds = 0
    fails(404, r.invoke_device_method, d["id"], call)
    fails(404, r.invoke_device_method, "none", call)


def case_unauthorized(t):
    fails(401, registry(t, key=KEYS[7]).get_device, "x")
    fails(401, registry(t, "device", t.hub["deviceKey"]).get_device, "x")
