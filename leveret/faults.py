"""What is to go wrong, and how often: rules that the broker follows.

    with broker.faults.drop_connection(after_publishes=3) as fault:
        ...
    assert fault.hits == 1

A rule holds from the call on, until the block ends or `remove`. What goes wrong with something that is said goes wrong once, unless
`times` says otherwise (None: every time); what lasts, lasts until the rule is removed. Each method also takes what the rule is limited to
(Which). Seconds are the broker's, which `advance` moves, unless it is about sockets or the disk. What is left to chance depends on the
broker's seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, Literal, ParamSpec, TypedDict, Unpack, overload

from leveret.asking import segment
from leveret.asynchronous import in_thread
from leveret.entering import Entering
from leveret.errors import BrokerGone, Refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from leveret.broker import Broker

P = ParamSpec("P")
NOT_FOUND: Final = 404
Direction = Literal["to_client", "from_client", "both"]


class WhichElse(TypedDict, total=False):
    """What a rule is limited to; names may have a `*` for anything. It is always limited to the handle's vhost, unless another is named."""

    queue: str
    exchange: str
    routing_key: str
    client_name: str
    """What the client calls itself (connection_name)."""
    user: str
    consumer_tag: str
    vhost: str
    skip: int
    """So many that fit go through first."""
    times: int | None
    """How often; None: every time."""
    chance: float
    """From 0 to 1, for each that fits."""
    seed: int


class Which(WhichElse, total=False):
    """The same, and at which moment."""

    on: str
    """A method, by AMQP's name: basic.publish, basic.ack, queue.declare, ...; `confirm` is the broker's ack of a publish."""
    when: Literal["before", "after"]
    """Before it has taken effect, or after that."""


class Fault:
    """A rule that holds. What it tells is asked for each time; once it was removed, it is what there was then."""

    def __init__(self, broker: Broker, facts: dict[str, Any]) -> None:
        self._broker = broker
        self._facts = {"hits": 0, "remaining": None, "last": None, **facts}
        self._is_removed = False
        self.id: str = facts["id"]

    def __repr__(self) -> str:
        # What was told last: a repr asks nobody.
        return f"<leveret.Fault {self.id} {self._facts.get('rule')}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            self.remove()
        except BrokerGone:
            # The rule is, too. Whatever the block has to say of that counts more.
            pass

    @property
    def hits(self) -> int:
        """How often it has come to pass."""
        return int(self.facts()["hits"])

    @property
    def remaining(self) -> int | None:
        """How often it still will; None: every time."""
        left: int | None = self.facts()["remaining"]
        return left

    def facts(self) -> dict[str, Any]:
        """All that the broker tells of it: id, rule, hits, remaining, and when and where the last hit was."""
        if not self._is_removed:
            try:
                self._facts = self._broker.api.ask("GET", self._path)
            except Refused as refused:
                if refused.status != NOT_FOUND:
                    raise
        return self._facts

    def remove(self) -> None:
        """Take the rule away: what it holds back is let go, what lasts is over. Again is fine."""
        if self._is_removed:
            return
        self.facts()
        try:
            self._broker.api.ask("DELETE", self._path)
        except Refused as refused:
            if refused.status != NOT_FOUND:  # it went with a restart, or with its sandbox
                raise
        self._is_removed = True

    @property
    def _path(self) -> str:
        return f"/faults/{segment(self.id)}"


class Faults:
    """Those of one vhost."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def order(self, do: str, /, **rule: Any) -> Fault:
        """Any rule, by the fields that the HTTP API has for it. What is None isn't sent, but for `times`. Raises Refused, which says what
        is possible."""
        given = {"vhost": self._broker.vhost, **rule}
        sent = {name: value for name, value in given.items() if value is not None or name == "times"}
        fault = Fault(self._broker, self._broker._ask("POST", "/faults", {"do": do, **sent}))
        self._broker._note_fault(fault, sent.get("vhost"))
        return fault

    def all(self) -> list[Fault]:
        """The rules of this vhost that hold, in the order in which they came."""
        return [Fault(self._broker, facts) for facts in self._broker._ask("GET", f"/faults?vhost={segment(self._broker.vhost)}")]

    def clear(self) -> None:
        """Take all of them away."""
        self._broker._ask("DELETE", f"/faults?vhost={segment(self._broker.vhost)}")

    # --- connections and channels that end --------------------------------------------------------------------------

    def drop_connection(
        self,
        *,
        after_publishes: int | None = None,
        after_deliveries: int | None = None,
        after_acks: int | None = None,
        reset: bool = False,
        **which: Unpack[Which],
    ) -> Fault:
        """The socket is closed without a word, or with `reset` by a TCP reset: with the next thing that is said, with a method (`on`,
        `before` or `after` it), or after so many publishes, deliveries or acks."""
        return self.order("drop_connection", reset=reset, **_after(which, after_publishes, after_deliveries, after_acks))

    def close_connection(
        self,
        *,
        code: int | None = None,
        text: str | None = None,
        after_publishes: int | None = None,
        after_deliveries: int | None = None,
        after_acks: int | None = None,
        **which: Unpack[Which],
    ) -> Fault:
        """The broker sends connection.close, with 320 CONNECTION_FORCED if no code is given. `before` a method: that has no effect."""
        return self.order("close_connection", code=code, text=text, **_after(which, after_publishes, after_deliveries, after_acks))

    def close_channel(
        self,
        *,
        code: int | None = None,
        text: str | None = None,
        after_publishes: int | None = None,
        after_deliveries: int | None = None,
        after_acks: int | None = None,
        **which: Unpack[Which],
    ) -> Fault:
        """The broker sends channel.close, with 406 PRECONDITION_FAILED if no code is given. `before` a method: that has no effect."""
        return self.order("close_channel", code=code, text=text, **_after(which, after_publishes, after_deliveries, after_acks))

    def fail_method(self, on: str, *, code: int | None = None, text: str | None = None, **which: Unpack[WhichElse]) -> Fault:
        """A method of the client's fails with the code (541 INTERNAL_ERROR if none is given), and has no effect."""
        return self.order("fail_method", on=on, code=code, text=text, **which)

    def delay_method(self, on: str, *, seconds: float, **which: Unpack[WhichElse]) -> Fault:
        """What the client says takes effect, and is answered, so many (real) seconds later."""
        return self.order("delay_method", on=on, seconds=seconds, **which)

    # --- publishers -------------------------------------------------------------------------------------------------

    def nack_confirms(self, **which: Unpack[Which]) -> Fault:
        """The publisher gets basic.nack, though the broker has the message."""
        return self.order("nack_confirms", **which)

    def withhold_confirms(self, **which: Unpack[Which]) -> Fault:
        """The confirm never comes."""
        return self.order("withhold_confirms", **which)

    def delay_confirms(self, *, seconds: float, **which: Unpack[Which]) -> Fault:
        """The confirm comes so many seconds later."""
        return self.order("delay_confirms", seconds=seconds, **which)

    def return_publish(self, **which: Unpack[Which]) -> Fault:
        """The message is treated as unroutable: returned if it is mandatory, else dropped; and confirmed."""
        return self.order("return_publish", **which)

    def queue_full(self, **which: Unpack[Which]) -> Fault:
        """The queues that the rule is about are full: they don't get the message, and the publisher gets basic.nack."""
        return self.order("queue_full", **which)

    def block_publishers(self, *, seconds: float | None = None, text: str | None = None, **which: Unpack[Which]) -> Fault:
        """Connections that publish are blocked (connection.blocked, with the text as its reason), for so long or until `remove`."""
        return self.order("block_publishers", seconds=seconds, text=text, **which)

    # --- consumers --------------------------------------------------------------------------------------------------

    def delay_deliveries(self, *, seconds: float, **which: Unpack[Which]) -> Fault:
        """The message goes out so many seconds after it came into the queue; those behind it wait for it."""
        return self.order("delay_deliveries", seconds=seconds, **which)

    def reorder_queues(self, *, seconds: float | None = None, **which: Unpack[Which]) -> Fault:
        """What several queues deliver comes in another order than it was published in: it is collected for so long and mixed. Within a
        queue the order stays."""
        return self.order("reorder_queues", seconds=seconds, **which)

    def redeliver(self, *, another: bool = False, **which: Unpack[Which]) -> Fault:
        """The client's ack is lost: the message comes again, redelivered; with `another` to another consumer, if there is one."""
        return self.order("redeliver", another=another, **which)

    def cancel_consumer(self, **which: Unpack[Which]) -> Fault:
        """The broker cancels the consumer, as when its queue goes: with its next delivery, or `on` basic.ack, basic.consume, ..."""
        return self.order("cancel_consumer", **which)

    def get_empty(self, **which: Unpack[Which]) -> Fault:
        """basic.get answers that there is nothing."""
        return self.order("get_empty", **which)

    # --- logins -----------------------------------------------------------------------------------------------------

    def refuse_login(self, *, silent: bool = False, **which: Unpack[Which]) -> Fault:
        """The login of the handle's user (or of another: `user`) is refused, as for a wrong password; with `silent` it isn't answered."""
        return self.order("refuse_login", silent=silent, **{"user": self._broker.user, "vhost": None, **which})

    def refuse_vhost(self, *, text: str | None = None, **which: Unpack[Which]) -> Fault:
        """connection.open is refused, as for a user without permissions."""
        return self.order("refuse_vhost", text=text, **which)

    def slow_handshake(self, *, seconds: float, **which: Unpack[Which]) -> Fault:
        """The broker takes so many (real) seconds to answer a step of the handshake of the handle's user (or of another: `user`)."""
        return self.order("slow_handshake", seconds=seconds, **{"user": self._broker.user, "vhost": None, **which})

    # --- bytes ------------------------------------------------------------------------------------------------------

    def stop_heartbeats(self, *, direction: Direction | None = None, **which: Unpack[Which]) -> Fault:
        """to_client: the broker sends none; from_client: nothing of the client's arrives; both if not given."""
        return self.order("stop_heartbeats", direction=direction, **which)

    def cut_frame(self, *, bytes: int | None = None, **which: Unpack[Which]) -> Fault:
        """Of a delivery (or what it is `on`) only so many bytes are sent, half of it if not given, and then the connection is dropped."""
        return self.order("cut_frame", bytes=bytes, **which)

    def send_garbage(self, *, bytes: int | None = None, **which: Unpack[Which]) -> Fault:
        """The broker sends bytes that are no frame."""
        return self.order("send_garbage", bytes=bytes, **which)

    def slow_down(self, *, bytes_per_second: float, direction: Direction | None = None, **which: Unpack[Which]) -> Fault:
        """So many bytes pass in a (real) second, at the most; 0: none, as if the network were gone."""
        return self.order("slow_down", bytes_per_second=bytes_per_second, direction=direction, **which)

    def add_latency(self, *, seconds: float, direction: Direction | None = None, **which: Unpack[Which]) -> Fault:
        """Everything arrives so many (real) seconds later."""
        return self.order("add_latency", seconds=seconds, direction=direction, **which)

    # --- the machine: of the whole broker, so of all vhosts ---------------------------------------------------------

    def fail_sync(self, *, error: str | None = None, **which: Unpack[Which]) -> Fault:
        """A sync of the disk fails, with EIO if nothing else is given: the broker takes nothing more until it is started again."""
        return self.order("fail_sync", error=error, **which)

    def disk_full(self, *, error: str | None = None, **which: Unpack[Which]) -> Fault:
        """A write fails with ENOSPC; the broker goes on as after a sync that failed."""
        return self.order("disk_full", error=error, **which)

    def slow_disk(self, *, seconds: float, **which: Unpack[Which]) -> Fault:
        """Each sync takes so many (real) seconds longer, and with it confirms, commits and durable declares."""
        return self.order("slow_disk", seconds=seconds, **which)

    def disk_alarm(self, *, seconds: float | None = None) -> Fault:
        """The alarm of low disk space is on, for so long or until `remove`: all publishers are blocked."""
        return self.order("disk_alarm", seconds=seconds)

    def memory_alarm(self, *, seconds: float | None = None) -> Fault:
        """The memory alarm is on, likewise."""
        return self.order("memory_alarm", seconds=seconds)


def _after(which: Which, publishes: int | None, deliveries: int | None, acks: int | None) -> dict[str, Any]:
    """The rule with `after_publishes=3` said in its words."""
    counts = {"basic.publish": publishes, "basic.deliver": deliveries, "basic.ack": acks}
    given = [(method, count) for method, count in counts.items() if count is not None]
    if not given:
        return dict(which)
    (method, count), *more = given
    if more or "on" in which or "skip" in which or count < 1:
        raise ValueError("after_publishes, after_deliveries, after_acks: one of them, 1 or more, and neither `on` nor `skip`")
    return {"on": method, "when": "after", "skip": count - 1, **which}


# --- coroutines -------------------------------------------------------------------------------------------------------


class AsyncFault:
    """As Fault."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.id = fault.id

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await in_thread(lambda: self.fault.__exit__(kind, error, traceback))

    async def hits(self) -> int:
        """See Fault."""
        return await in_thread(lambda: self.fault.hits)

    async def remaining(self) -> int | None:
        """See Fault."""
        return await in_thread(lambda: self.fault.remaining)

    async def facts(self) -> dict[str, Any]:
        """See Fault."""
        return await in_thread(self.fault.facts)

    async def remove(self) -> None:
        """See Fault."""
        await in_thread(self.fault.remove)


class Ordering(Generic[P]):
    """A method of Faults whose rule holds from the `await` or the `async with` on."""

    def __init__(self, method: Callable[Concatenate[Faults, P], Fault]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, faults: None, owner: type[AsyncFaults]) -> Self: ...

    @overload
    def __get__(self, faults: AsyncFaults, owner: type[AsyncFaults]) -> Callable[P, Entering[AsyncFault]]: ...

    def __get__(self, faults: AsyncFaults | None, owner: type[AsyncFaults]) -> Self | Callable[P, Entering[AsyncFault]]:
        """The method of one handle."""
        if faults is None:
            return self

        def call(*arguments: P.args, **keywords: P.kwargs) -> Entering[AsyncFault]:
            async def begin() -> AsyncFault:
                return AsyncFault(await in_thread(lambda: self._method(faults.faults, *arguments, **keywords)))

            return Entering(begin)

        call.__doc__ = self.__doc__
        return call


class AsyncFaults:
    """As Faults: `async with broker.faults.drop_connection() as fault:`, or `fault = await broker.faults.drop_connection()`."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    async def all(self) -> list[AsyncFault]:
        """See Faults."""
        return [AsyncFault(fault) for fault in await in_thread(self.faults.all)]

    async def clear(self) -> None:
        """See Faults."""
        await in_thread(self.faults.clear)

    order = Ordering(Faults.order)
    drop_connection = Ordering(Faults.drop_connection)
    close_connection = Ordering(Faults.close_connection)
    close_channel = Ordering(Faults.close_channel)
    fail_method = Ordering(Faults.fail_method)
    delay_method = Ordering(Faults.delay_method)
    nack_confirms = Ordering(Faults.nack_confirms)
    withhold_confirms = Ordering(Faults.withhold_confirms)
    delay_confirms = Ordering(Faults.delay_confirms)
    return_publish = Ordering(Faults.return_publish)
    queue_full = Ordering(Faults.queue_full)
    block_publishers = Ordering(Faults.block_publishers)
    delay_deliveries = Ordering(Faults.delay_deliveries)
    reorder_queues = Ordering(Faults.reorder_queues)
    redeliver = Ordering(Faults.redeliver)
    cancel_consumer = Ordering(Faults.cancel_consumer)
    get_empty = Ordering(Faults.get_empty)
    refuse_login = Ordering(Faults.refuse_login)
    refuse_vhost = Ordering(Faults.refuse_vhost)
    slow_handshake = Ordering(Faults.slow_handshake)
    stop_heartbeats = Ordering(Faults.stop_heartbeats)
    cut_frame = Ordering(Faults.cut_frame)
    send_garbage = Ordering(Faults.send_garbage)
    slow_down = Ordering(Faults.slow_down)
    add_latency = Ordering(Faults.add_latency)
    fail_sync = Ordering(Faults.fail_sync)
    disk_full = Ordering(Faults.disk_full)
    slow_disk = Ordering(Faults.slow_disk)
    disk_alarm = Ordering(Faults.disk_alarm)
    memory_alarm = Ordering(Faults.memory_alarm)
