"""Runs the cases of one area against a hub, see ../node/driver.js for the lines
that go both ways."""

import asyncio
import inspect
import itertools
import json
import os
import queue
import re
import sys
import threading
import time
import traceback

CASE_TIMEOUT = 120  # which only a case that hangs exceeds

out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what libraries print must not get between the lines
out_lock = threading.Lock()
hub = json.loads(os.environ["NAVE_TEST_SDK_HUB"])


def write(value):
    with out_lock:
        out.write(json.dumps(value) + "\n")
        out.flush()


class Refused(Exception):
    """The hub's side answered an ask with an error."""

    def __init__(self, text, code):
        super().__init__("the hub's side: " + text)
        self.code = code


class handed:
    """A queue of an event loop, for other threads to put into."""

    def __init__(self, loop, q):
        self.loop, self.queue = loop, q

    def put(self, value):
        self.loop.call_soon_threadsafe(self.queue.put_nowait, value)


class Case:
    """What a running case has at hand."""

    asked = {}
    numbers = itertools.count(1)
    ids = itertools.count(1)

    def __init__(self, name, websockets):
        self.name = name
        self.message_id = re.sub("[^a-z0-9]+", "-", name)
        self.hub = hub
        self.websockets = websockets
        self.later = []

    def ask(self, verb, **args):
        """Has the Go side do something and returns its answer."""
        n = next(Case.numbers)
        answer = Case.asked[n] = queue.Queue()
        write({**args, "ask": n, "do": verb})
        return self.judge(answer.get(timeout=CASE_TIMEOUT))

    def judge(self, m):
        if m.get("error"):
            raise Refused(m["error"], m.get("code"))
        return m.get("value")

    async def aask(self, verb, **args):
        """Is ask for a case with an event loop; it holds none of the threads that the SDK needs."""
        answer = asyncio.Queue()
        loop = asyncio.get_running_loop()
        n = next(Case.numbers)
        Case.asked[n] = handed(loop, answer)
        write({**args, "ask": n, "do": verb})
        return self.judge(await answer.get())

    def id(self):
        """Returns a registration or group id that is the case's own."""
        return "py-%s-%s-%d" % (sys.argv[1], self.message_id.lower()[:24].strip("-"), next(Case.ids))

    def device(self, **args):
        """Registers a device of the case's own."""
        return self.ask("device", **args)

    def options(self, **more):
        """Returns the keyword arguments of every client."""
        with open(hub["ca"]) as f:
            ca = f.read()
        return {"websockets": self.websockets, "server_verification_cert": ca, "connection_retry_interval": 1, **more}


def connection(device, host=None, key=None):
    """Returns the connection string of a device or module."""
    text = "HostName={};DeviceId={}".format(host or hub["host"], device["id"])
    if device.get("module"):
        text += ";ModuleId=" + device["module"]
    return text + ";SharedAccessKey=" + (key or device["key"])


def run(name, body, websockets):
    t = Case(name, websockets)
    began = time.monotonic()
    done = queue.Queue()

    def work():
        try:
            if inspect.iscoroutinefunction(body):
                asyncio.run(asyncio.wait_for(body(t), CASE_TIMEOUT))
            else:
                body(t)
            done.put("")
        except BaseException:
            done.put(traceback.format_exc())

    threading.Thread(target=work, daemon=True).start()
    try:
        error = done.get(timeout=CASE_TIMEOUT + 1)
    except queue.Empty:
        error = "not done after %d s" % CASE_TIMEOUT
    for f in reversed(t.later):
        try:
            f()
        except Exception:
            traceback.print_exc()
    write({"case": name, "ok": not error, "ms": int(1000 * (time.monotonic() - began)), "error": error})


def main():
    import areas

    cases, websockets = areas.load(sys.argv[1])
    write({"cases": list(cases)})
    runs = queue.Queue()

    def read():
        for line in sys.stdin:
            m = json.loads(line)
            if "run" in m:
                runs.put(m["run"])
            else:
                Case.asked.pop(m["answer"]).put(m)
        runs.put(None)

    threading.Thread(target=read, daemon=True).start()
    while (name := runs.get()) is not None:
        run(name, cases[name], websockets)
    os._exit(0)


if __name__ == "__main__":
    sys.modules["driver"] = sys.modules["__main__"]
    main()
