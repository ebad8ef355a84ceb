"""Owns one connection on the event loop: its packets, its timer, one transmission a turn; never what streams mean."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from shardd.transport.engine import EngineConnection, Sink
from shardd.transport.native import Address

ACK_WAIT_S = 0.02  # far below the delay that we announce to peers (max_ack_delay)
TIMER_GRAIN_S = 0.001  # of uvloop, which rounds to the nearest and calls for less than half at once
ACK_WAITS_BELOW_BYTES = 4_096  # more than this is a transfer, whose sender wants to hear soon


class Link(Protocol):
    """How datagrams leave and come: a DatagramSocket."""

    def send(self, datagrams: list[bytes], address: Address) -> None:
        """Sends them, or drops them."""

    def drain(self) -> None:
        """Hands over what has come and waits, by way of `Channel.received`."""


class Channel:
    """Drives an engine's connection for its `sink`, which hears everything from within these calls."""

    def __init__(self, connection: EngineConnection, *, sink: Sink, link: Link) -> None:
        self.connection = connection
        self._loop = asyncio.get_running_loop()
        self._now_s: Callable[[], float] = self._loop.time
        self._sink = sink
        self._link = link
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = 0.0
        self._owed_at_s: float | None = None  # until when an acknowledgement waits for company
        self._stopped = False

    def received(self, datagrams: list[bytes], address: Address) -> None:
        """Datagrams came from `address`."""
        if self._stopped:
            return
        self.connection.receive(datagrams, address, self._now_s())
        self.connection.deliver(self._sink)
        if self.connection.quiet and sum(map(len, datagrams)) < ACK_WAITS_BELOW_BYTES:
            self._flush_later()
        else:
            self.flush()

    def flush_soon(self) -> None:
        """Something was queued on the connection: all of this turn of the loop leaves together."""
        if self._soon is None and not self._stopped:
            self._soon = self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Sends what may be sent, and sets the timer."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        self._owed_at_s = None
        if self._stopped:
            return
        outgoing = self.connection.outgoing(self._now_s())
        if outgoing:
            for address in {address: None for _, address in outgoing}:  # one, unless the peer is moving
                self._link.send([datagram for datagram, to in outgoing if to == address], address)
            self.connection.deliver(self._sink)  # to send may show that the connection is over
        self._set_timer()

    def stop(self) -> None:
        """Nothing is sent or heard any more. Idempotent."""
        self._stopped = True
        for handle in (self._soon, self._timer):
            if handle is not None:
                handle.cancel()
        self._soon = self._timer = None

    def _flush_later(self) -> None:
        """Small requests and replies carry each other's acknowledgements: alone, these double the datagrams."""
        if self._owed_at_s is None:
            self._owed_at_s = self._now_s() + ACK_WAIT_S
            self._arm(self._owed_at_s)

    def _set_timer(self) -> None:
        due_s = self.connection.timer_s()
        if due_s is not None:
            self._arm(due_s)

    def _arm(self, due_s: float) -> None:
        """A timer that fires too early is harmless and cheaper than one that is set anew for every packet."""
        if self._stopped:
            return
        if self._timer is not None:
            if self._timer_at_s <= due_s:
                return
            self._timer.cancel()
        self._timer_at_s = due_s
        # Rounded up: what is called before its time can but ask again, hundreds of times within one grain.
        self._timer = self._loop.call_at(due_s + TIMER_GRAIN_S / 2, self._fire)

    def _fire(self) -> None:
        """Where this process was late, what the timer waits for has come already: it would repeat what is not lost."""
        self._timer = None
        self._link.drain()
        if self._stopped:
            return
        now_s = self._now_s()
        if self._owed_at_s is not None:
            if now_s < self._owed_at_s:
                self._arm(self._owed_at_s)
            else:
                self.flush()
            return
        due_s = self.connection.timer_s()
        if due_s is not None and due_s <= now_s:
            self.connection.expire(now_s)
            self.connection.deliver(self._sink)
            self.flush()
        else:
            self._set_timer()
