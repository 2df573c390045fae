"""Cases for the Event Hubs client, azure-eventhub."""

import asyncio
import itertools
import queue
import threading
from datetime import timedelta

from azure.eventhub import EventHubConsumerClient
from azure.eventhub.aio import EventHubConsumerClient as AsyncConsumerClient
from azure.eventhub.exceptions import AuthenticationError, ConnectError, EventHubError

WAIT = 100  # for what comes


def base(t, key=None):
    return "Endpoint=sb://%s/;SharedAccessKeyName=service;SharedAccessKey=%s;EntityPath=%s" % (
        t.hub["host"], key or t.hub["serviceKey"], t.hub["entity"])


def client(t, group="$Default", connection=None, kind=EventHubConsumerClient, **options):
    c = kind.from_connection_string(connection or base(t), consumer_group=group, connection_verify=t.hub["ca"],
                                    retry_total=0, **options)
    if kind is EventHubConsumerClient:
        t.later.append(c.close)
    return c


def collect(t, devices, n, options=None, **where):
    """Receives until there are n events of the devices and returns them with their contexts."""
    c = client(t, **(options or {}))
    ids = {d["id"].encode() for d in (devices if isinstance(devices, list) else [devices])}
    got, done = [], queue.Queue()

    def on_event(context, e):
        if e.system_properties[b"iothub-connection-device-id"] in ids:
            got.append((context, e))
            if len(got) == n:
                done.put(None)

    def on_error(context, e):
        done.put(e)

    where.setdefault("starting_position", "-1")
    threading.Thread(target=lambda: c.receive(on_event=on_event, on_error=on_error, **where), daemon=True).start()
    try:
        error = done.get(timeout=WAIT)
    except queue.Empty:
        raise AssertionError("%d of %d events came" % (len(got), n)) from None
    c.close()
    if error is not None:
        raise error
    return got


def bodies(got):
    return [e.body_as_str() for _, e in got]


def working(t, **options):
    d = t.device()
    partition = str(t.ask("publish", id=d["id"], bodies=["a", "b", "c"]))
    got = collect(t, d, 3, options, partition_id=partition)
    assert bodies(got) == ["a", "b", "c"], bodies(got)


def case_SVC_256_connection_verify(t):
    c = client(t)
    p = c.get_eventhub_properties()
    assert p["eventhub_name"] == t.hub["entity"], p
    assert p["partition_ids"] == ["0", "1", "2", "3"], p
    working(t)


def case_partition_properties(t):
    d = t.device()
    partition = str(t.ask("publish", id=d["id"], bodies=["x"]))
    _, e = collect(t, d, 1)[0]
    p = client(t).get_partition_properties(partition)
    assert p["id"] == partition and not p["is_empty"], p
    assert p["last_enqueued_sequence_number"] >= e.sequence_number, p
    assert p["last_enqueued_offset"] == str(p["last_enqueued_sequence_number"]), p
    assert p["last_enqueued_time_utc"] >= e.enqueued_time, p
    try:
        client(t).get_partition_properties("99")
    except EventHubError:
        return
    raise AssertionError("partition 99 has properties")


def case_all_partitions(t):
    devices = [t.device(id="spread-%d" % n) for n in range(16)]
    want = {str(t.ask("publish", id=d["id"], bodies=["x"])) for d in devices}
    assert len(want) == 4, want
    got = collect(t, devices, 16)
    assert {context.partition_id for context, _ in got} == want
    assert len({e.partition_key for _, e in got}) == 16


def case_event_content(t):
    d = t.device()
    t.ask("publish", id=d["id"], bodies=['{"t":21}'], app={"level": "3"},
          system={"messageId": "m", "correlationId": "c", "contentType": "application/json", "contentEncoding": "utf-8"})
    _, e = collect(t, d, 1)[0]
    assert e.body_as_json() == {"t": 21}
    assert e.properties == {b"level": b"3"}, e.properties
    assert (e.message_id, e.correlation_id, e.content_type) == ("m", "c", "application/json")
    assert e.partition_key == d["id"].encode(), e.partition_key
    assert e.offset == str(e.sequence_number)
    assert e.system_properties[b"iothub-message-source"] == b"Telemetry", e.system_properties


def case_start_positions(t):
    d = t.device()
    partition = str(t.ask("publish", id=d["id"], bodies=["0", "1", "2", "3", "4"]))
    first = [e for _, e in collect(t, d, 5, partition_id=partition)]

    def starts(want, position, inclusive=False):
        got = bodies(collect(t, d, len(want), partition_id=partition, starting_position=position, starting_position_inclusive=inclusive))
        assert got == want, (position, got)

    starts(["2", "3", "4"], first[1].offset)
    starts(["1", "2", "3", "4"], first[1].offset, True)
    starts(["4"], first[3].sequence_number)
    starts(["3", "4"], first[3].sequence_number, True)
    starts(["0", "1", "2", "3", "4"], first[0].enqueued_time - timedelta(milliseconds=2))


def case_latest(t):
    d = t.device()
    partition = str(t.ask("publish", id=d["id"], bodies=["before"]))
    c, got = client(t), queue.Queue()

    def on_event(_, e):
        if e is not None and e.partition_key == d["id"].encode():
            got.put(int(e.body_as_str()))  # which "before" is not

    def on_error(_, e):
        got.put(e)

    threading.Thread(target=lambda: c.receive(on_event=on_event, on_error=on_error, partition_id=partition, starting_position="@latest"),
                     daemon=True).start()
    # The SDK does not tell when its receiver stands: even empty batches may come before. So events are sent until one comes, and all
    # after that one have to come.
    for n in itertools.count():
        assert n < 10 * WAIT
        t.ask("publish", id=d["id"], bodies=[str(n)])
        try:
            first = got.get(timeout=0.1)
            break
        except queue.Empty:
            pass
    assert isinstance(first, int), repr(first)
    t.ask("publish", id=d["id"], bodies=[str(n + 1)])
    assert [got.get(timeout=WAIT) for _ in range(first + 1, n + 2)] == list(range(first + 1, n + 2))


def case_consumer_groups(t):
    working(t, group="dashboard")
    working(t, group="$default")
    try:
        collect(t, t.device(), 1, {"group": "nope"}, partition_id="0")
    except EventHubError as e:
        assert "could not be found" in str(e), e
        return
    raise AssertionError("an unknown group is read")


def case_owner_level_steals(t):
    d = t.device()
    partition = str(t.ask("publish", id=d["id"], bodies=["x"]))

    def reader(level):
        c, reads, lost = client(t), queue.Queue(), queue.Queue()
        threading.Thread(target=lambda: c.receive(on_event=lambda _, e: reads.put(e), on_error=lambda _, e: lost.put(e), partition_id=partition,
                                                  owner_level=level, starting_position="-1"), daemon=True).start()
        return reads, lost

    reads, lost = reader(1)
    reads.get(timeout=WAIT)
    second, _ = reader(2)
    second.get(timeout=WAIT)
    e = lost.get(timeout=WAIT)
    assert "stolen" in str(e) or "OwnershipLost" in type(e).__name__ or isinstance(e, ConnectError), repr(e)
    _, refused = reader(0)
    assert isinstance(refused.get(timeout=WAIT), EventHubError)


def case_runtime_metrics(t):
    d = t.device()
    t.ask("publish", id=d["id"], bodies=["x", "y"])
    context, e = collect(t, d, 2, track_last_enqueued_event_properties=True)[1]
    last = context.last_enqueued_event_properties
    assert last["sequence_number"] >= e.sequence_number, last
    assert last["enqueued_time"] is not None and last["retrieval_time"] is not None, last


def case_SVC_255_UseDevelopmentEmulator_on_plain_5672(t):
    working(t, connection=base(t) + ";UseDevelopmentEmulator=true")


def case_wrong_key(t):
    try:
        client(t, connection=base(t, "d3Jvbmc=")).get_eventhub_properties()
    except AuthenticationError:
        return
    raise AssertionError("a wrong key is let in")


async def case_asyncio(t):
    d = t.device()
    t.ask("publish", id=d["id"], bodies=["a", "b"])
    c, got, done = client(t, kind=AsyncConsumerClient), [], asyncio.Event()

    async def on_event(context, e):
        if e.partition_key == d["id"].encode():
            got.append(e.body_as_str())
            if len(got) == 2:
                done.set()

    async with c:
        task = asyncio.create_task(c.receive(on_event=on_event, starting_position="-1"))
        await asyncio.wait_for(done.wait(), WAIT)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert got == ["a", "b"], got
