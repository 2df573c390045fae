"""What can be run: an area is one transport of the device SDK, or an SDK of back ends."""

import importlib

AREAS = {
    "mqtt": (False, {"sync": "blocking", "async": "awaiting"}),
    "mqttws": (True, {"sync": "blocking", "async": "awaiting"}),
    "service": (False, {"service": "service"}),
    "events": (False, {"": "events"}),
}


def load(area):
    """Returns the cases of an area by name, and whether they use WebSockets."""
    if area.startswith("dps-"):
        return importlib.import_module("provision").load(area)
    websockets, kinds = AREAS[area]
    cases = {}
    for kind, module in kinds.items():
        for name, body in vars(importlib.import_module(module)).items():
            if name.startswith("case_"):
                cases[(kind + " " + name[len("case_"):].replace("SVC_", "SVC-").replace("_", " ")).strip()] = body
    return cases, websockets
