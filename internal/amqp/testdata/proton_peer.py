"""A partner for the engine: qpid-proton against the broker of kit_test.go.

usage: proton_peer.py HOST:PORT SCENARIO; prints "ok ..." and exits 0, or says what failed.
"""
import sys
from proton import Message, Delivery, Endpoint, symbol
from proton.handlers import MessagingHandler
from proton.reactor import Container, ReceiverOption, SenderOption, AtMostOnce, AtLeastOnce, LinkOption
from proton import Link


class Modes(LinkOption):
    def __init__(self, snd, rcv):
        self.snd, self.rcv = snd, rcv

    def apply(self, link):
        link.snd_settle_mode, link.rcv_settle_mode = self.snd, self.rcv


class Base(MessagingHandler):
    def __init__(self, address, **kw):
        super().__init__(**kw)
        self.address, self.done, self.failure = address, False, None
        self.connect = {}

    def on_start(self, event):
        event.container.schedule(50, self)
        self.conn = event.container.connect("amqp://" + self.address, reconnect=False, **self.connect)
        self.begin(event)

    def on_timer_task(self, event):
        if not self.done:
            self.fail(event, "time is up: " + str(self.__dict__))

    def finish(self, event):
        self.done = True
        self.conn.close()
        event.container.stop_events() if hasattr(event.container, "stop_events") else None
        event.container.stop()

    def fail(self, event, why):
        self.failure = why
        self.finish(event)

    def on_transport_error(self, event):
        if not self.done:
            self.fail(event, "transport: " + str(event.transport.condition))

    def on_connection_error(self, event):
        if not self.done:
            self.fail(event, "connection: " + str(event.connection.remote_condition))


class Echo(Base):
    """Send count messages of size bytes, receive them again in order."""

    def __init__(self, address, count, size, modes=None, prefetch=50, **connect):
        super().__init__(address, prefetch=prefetch, auto_accept=True)
        self.count, self.size, self.sent, self.got, self.accepted = count, size, 0, 0, 0
        self.options = modes
        self.connect = connect

    def begin(self, event):
        self.rcv = event.container.create_receiver(self.conn, "q", options=self.options)
        self.snd = event.container.create_sender(self.conn, "q", options=self.options)

    def on_sendable(self, event):
        while event.sender.credit and self.sent < self.count:
            event.sender.send(Message(id=self.sent, body=bytes([self.sent % 256]) * self.size, inferred=True,
                                      annotations={symbol("x"): self.sent}, properties={"n": self.sent}))
            self.sent += 1

    def on_accepted(self, event):
        self.accepted += 1
        self.check(event)

    def on_message(self, event):
        m = event.message
        if m.id != self.got or bytes(m.body) != bytes([self.got % 256]) * self.size or m.properties["n"] != self.got:
            self.fail(event, "message %d is wrong" % self.got)
            return
        self.got += 1
        self.check(event)

    def check(self, event):
        settled = self.options is not None and getattr(self.options, "snd", None) == Link.SND_SETTLED
        if self.got == self.count and (settled or self.accepted == self.count):
            self.finish(event)


class Refused(Base):
    def begin(self, event):
        self.errors = []
        event.container.create_sender(self.conn, "refused")
        event.container.create_receiver(self.conn, "refused")

    def on_link_error(self, event):
        self.errors.append(event.link.remote_condition.name)
        if self.errors == ["amqp:not-found"] * 2:
            self.finish(event)


class Rejected(Base):
    def begin(self, event):
        event.container.create_sender(self.conn, "rejects")

    def on_sendable(self, event):
        if not getattr(self, "sent", False):
            self.sent = True
            event.sender.send(Message(body="x"))

    def on_rejected(self, event):
        c = event.delivery.remote.condition
        if c.name == "x:bad" and c.description == "no":
            self.finish(event)
        else:
            self.fail(event, str(c))


class Drain(Base):
    def __init__(self, address):
        super().__init__(address, prefetch=0)

    def begin(self, event):
        self.rounds = 0
        self.rcv = event.container.create_receiver(self.conn, "empty")

    def on_link_opened(self, event):
        self.rcv.drain(20)

    def on_link_flow(self, event):
        if self.rcv.credit == 0 and self.rcv.drained() == 20:
            self.rounds += 1
            if self.rounds == 3:
                self.finish(event)
            else:
                self.rcv.drain(20)


class Heartbeat(Base):
    """Wait for frames while there is nothing to say."""

    def __init__(self, address, **connect):
        super().__init__(address)
        self.connect, self.frames = connect, None

    def begin(self, event):
        pass

    def on_connection_opened(self, event):
        self.frames = event.transport.frames_input
        event.container.schedule(0.1, self)

    def on_timer_task(self, event):
        if self.frames is None or self.conn.transport.frames_input == self.frames:
            event.container.schedule(0.1, self)
        else:
            self.finish(event)


def main():
    address, scenario = sys.argv[1:3]
    h = {
        "echo": lambda: Echo(address, 3000, 100, sasl_enabled=False),
        "anonymous": lambda: Echo(address, 10, 10, sasl_enabled=True, allowed_mechs="ANONYMOUS"),
        "plain": lambda: Echo(address, 10, 10, user="u", password="p", allowed_mechs="PLAIN", allow_insecure_mechs=True),
        "frames": lambda: Echo(address, 20, 60000, max_frame_size=512),
        "large": lambda: Echo(address, 3, 2000000, max_frame_size=4096),
        "settled": lambda: Echo(address, 500, 100, modes=Modes(Link.SND_SETTLED, Link.RCV_FIRST)),
        "second": lambda: Echo(address, 500, 100, modes=Modes(Link.SND_UNSETTLED, Link.RCV_SECOND)),
        "heartbeat": lambda: Heartbeat(address, heartbeat=8),
        "refused": lambda: Refused(address),
        "rejected": lambda: Rejected(address),
        "drain": lambda: Drain(address),
    }[scenario]()
    Container(h).run()
    if h.failure or not h.done:
        print(h.failure or "ended early")
        sys.exit(1)
    print("ok", scenario)


main()
