"""A broker to test against: one's own, one that is running already, or a part of either (a sandbox).

with leveret.Broker() as broker:                         # a process, in memory, gone at the end
    pika.BlockingConnection(broker.pika_parameters())

with leveret.Broker.connect("http://broker:15672", token) as broker, broker.sandbox() as mine:
    ...                                                  # a vhost and a user for oneself, in a broker of docker-compose's
"""

from __future__ import annotations

import secrets
import weakref
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from leveret.asking import segment
from leveret.assertions import Assertions
from leveret.clock import Clock
from leveret.errors import BrokerGone, LeveretError, Refused
from leveret.options import SEED_BITS, Options, tls_of
from leveret.process import Process
from leveret.remote import Remote
from leveret.states import States

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import TracebackType
    from typing import Self

    from leveret.api import Api
    from leveret.asynchronous import AsyncBroker
    from leveret.faults import Fault, Faults
    from leveret.options import PATH, Tls

NOT_FOUND: Final = 404


class Login(NamedTuple):
    """Where, and as whom. The defaults are RabbitMQ's."""

    vhost: str = "/"
    user: str = "guest"
    password: str = "guest"


class Strictness(NamedTuple):
    """Whether findings are failures, and which aren't (their codes)."""

    strict: bool
    ignore: Collection[str]


class Broker(Assertions, Clock, States):
    """See the module. Nothing is started before `start`, or a `with` block.

    - `data_dir`: where messages are kept, for tests with restarts; a path, or True for a temporary one. Not given, they are in memory.
    - `port`: AMQP's; a free one if none is given.
    - `tls`: AMQP is served over TLS alone, with the files of a certificate ({"certfile": ..., "keyfile": ..., "cacertfile": ...}), or with
      one that trustme makes for this broker (True). `cafile` is whom clients have to trust.
    - `config`: settings, by the keys of rabbitmq.conf, or such a file.
    - `compat`: which RabbitMQ to be, "3.13" or "4.x".
    - `seed`: what is left to chance depends on it.
    - `strict`: leaving the `with` block fails if clients did what breaks on a newer RabbitMQ, or may lose messages (see `findings`); but
      for the codes in `ignore`.

    The environment's LEVERET_* and RABBITMQ_* and the system's configuration files don't count. Raises options.Unusable, a ValueError.
    """

    def __init__(
        self,
        *,
        data_dir: PATH | bool | None = None,
        port: int = 0,
        tls: Tls | bool | None = None,
        config: Mapping[str, Any] | PATH | None = None,
        compat: str | None = None,
        seed: int | None = None,
        strict: bool = False,
        ignore: Collection[str] = (),
    ) -> None:
        seed = secrets.randbits(SEED_BITS) if seed is None else seed
        options = Options(data_dir=data_dir, port=port, tls=tls_of(tls), config=config, compat=compat, seed=seed)
        process = Process(options)
        names = ("default_vhost", "default_user", "default_pass")
        login = Login(*(str(options.settings.get(name, usual)) for name, usual in zip(names, Login(), strict=True)))
        self._set_up(process, login, None, Strictness(strict, ignore))
        # Whoever forgets to stop it has it gone with the handle.
        weakref.finalize(self, process.abandon)

    def _set_up(self, place: Process | Remote, login: Login, parent: Broker | None, strictness: Strictness) -> None:
        self._place = place
        self._login = login
        self._parent = parent
        """Whose sandbox it is. It is kept: a broker goes with its handle."""
        self._strictness = strictness
        self._has_frozen = self._is_over = False
        self._faults: list[Fault] = []
        """Those that don't go with the sandbox by themselves."""

    @classmethod
    def connect(
        cls,
        http_url: str,
        token: str,
        *,
        port: int | None = None,
        user: str = "guest",
        password: str = "guest",
        vhost: str = "/",
        cafile: str | None = None,
        strict: bool = False,
        ignore: Collection[str] = (),
        timeout: float = 0.0,
    ) -> Self:
        """A broker that is running already, with LEVERET_TESTING=true and LEVERET_TESTING_TOKEN=TOKEN, by the URL of its HTTP API.

        AMQP is looked for on the same host, at the port that the broker says, or at `port` where it is mapped to another. `cafile` is the
        authority to trust where TLS is spoken. A broker that is just being started is waited for, for `timeout` seconds. Raises BrokerGone,
        and Refused for a wrong token.
        """
        broker = cls.__new__(cls)
        place, login = Remote(http_url, token, port, cafile, timeout), Login(vhost, user, password)
        broker._set_up(place, login, None, Strictness(strict, ignore))
        return broker

    def sandbox(self, name: str | None = None) -> Broker:
        """A fresh vhost with a user of its own, as a handle like this one; `stop`, or the end of a `with` block, removes both, whatever is
        connected there. The vhost is called `name`, or by the broker."""
        facts = self._ask("POST", "/sandboxes", {} if name is None else {"name": name})
        sandbox = Broker.__new__(Broker)
        sandbox._set_up(self._place, Login(facts["vhost"], facts["user"], facts["password"]), self, self._strictness)
        return sandbox

    # --- its life ---------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start it and wait until it serves; after `kill`, on the same ports. Raises CannotStart, with what its log says."""
        self._place.start()
        return self

    def stop(self) -> None:
        """End it, and with it all that only it has needed, a temporary data directory too. A sandbox is removed; of a broker that was
        started elsewhere nothing ends. Again is fine."""
        if self._parent is None:
            self._place.stop()
        elif self._place.is_running:
            self._end_sandbox()

    def kill(self) -> None:
        """kill -9: what was confirmed is there after `start`, if there is a data directory."""
        self._check_keeps("kill")
        self._place.kill()

    def restart(self) -> None:
        """An orderly end and another start, on the same ports and data directory."""
        self._check_keeps("restart")
        self._place.restart()

    def __enter__(self) -> Self:
        if not self._place.is_running:
            self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            if kind is None:
                self.check()
        finally:
            self.stop()

    async def __aenter__(self) -> AsyncBroker:
        """`async with leveret.Broker() as broker:` is an AsyncBroker."""
        return await self.aio.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.aio.__aexit__(kind, error, traceback)

    def __repr__(self) -> str:
        where = f"{self.host}:{self.port}" if self.is_running else "not running"
        return f"<leveret.Broker {where}, vhost '{self.vhost}'>"

    def check(self) -> None:
        """What leaving a `with` block checks: if the handle is strict, that there are no findings. Raises AssertionError."""
        __tracebackhide__ = True
        if self._strictness.strict:
            self.assert_no_findings(severity=("breaks", "loses"), ignore=self._strictness.ignore)

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def aio(self) -> AsyncBroker:
        """The same with coroutines, for asyncio and trio."""
        from leveret.asynchronous import AsyncBroker

        return AsyncBroker(self)

    @property
    def faults(self) -> Faults:
        """What is to go wrong in this vhost."""
        from leveret.faults import Faults

        return Faults(self)

    @property
    def is_running(self) -> bool:
        """It was started and hasn't ended, as far as this program knows."""
        return self._place.is_running

    @property
    def pid(self) -> int:
        """Its process. Raises LeveretError where that is not ours."""
        return self._place.pid

    @property
    def seed(self) -> int:
        """What everything depends on that is left to chance: give it to `Broker` to have the same again."""
        return self._place.seed

    def log(self, lines: int | None = None) -> str:
        """What its process has logged, or the last `lines` of that."""
        return self._place.log(lines)

    @property
    def api(self) -> Api:
        """See Asking."""
        return self._place.api

    @property
    def host(self) -> str:
        """See Addresses."""
        return self._place.host

    @property
    def port(self) -> int:
        """See Addresses. It is the same after a restart. Raises BrokerGone before the start."""
        return self._place.port

    @property
    def http_url(self) -> str:
        """See Addresses. Raises BrokerGone before the start."""
        return self._place.http_url

    @property
    def vhost(self) -> str:
        """See Addresses."""
        return self._login.vhost

    @property
    def user(self) -> str:
        """See Addresses."""
        return self._login.user

    @property
    def password(self) -> str:
        """See Addresses."""
        return self._login.password

    @property
    def cafile(self) -> str | None:
        """See Addresses."""
        return self._place.cafile

    @property
    def is_tls(self) -> bool:
        """See Addresses."""
        return self._place.is_tls

    # --- for the others' parts --------------------------------------------------------------------------------------

    def _explain(self) -> str | None:
        return self._place.epitaph()

    def _vhost_path(self, path: str) -> str:
        if self._is_over:
            raise LeveretError(f"sandbox '{self.vhost}' is over: its vhost is gone, with all that was in it")
        return super()._vhost_path(path)

    def _note_frozen(self, is_frozen: bool) -> None:
        self._has_frozen = is_frozen

    def _note_fault(self, fault: Fault, vhost: str | None) -> None:
        """One that isn't limited to this vhost doesn't go with it."""
        if vhost != self.vhost:
            self._faults.append(fault)

    def _check_keeps(self, what: str) -> None:
        if self._parent is not None and not self._place.keeps:
            raise LeveretError(
                f"to {what} a broker that keeps everything in memory would end this sandbox and all others: use one with a data directory, "
                "as leveret.Broker(data_dir=True), or leveret_factory(data_dir=True) in pytest"
            )

    def _end_sandbox(self) -> None:
        self._is_over = True
        try:
            if self._has_frozen:
                self._ask("POST", "/clock/resume", {"by": self.vhost})
            while self._faults:
                self._faults.pop().remove()
            self._ask("DELETE", f"/sandboxes/{segment(self.vhost)}")
        except Refused as refused:
            if refused.status != NOT_FOUND:  # it is gone already
                raise
        except BrokerGone:
            if self._place.is_running:
                raise
