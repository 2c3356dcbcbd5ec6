"""Exchanges that send a message to one of their destinations: by a hash or at random (contract 3.9)."""

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import count
from random import Random
from typing import Any

import pytest

from broker.core.envelope import Envelope
from broker.core.exchange import Destination, Exchange, LooksAt
from broker.core.exchanges import create, exchange_types
from broker.core.exchanges.consistent_hash import REMEMBERED_MAX
from broker.core.exchanges.hashes import stable_hash
from broker.core.message import join_routing
from protocol.content import Properties, encode_properties
from protocol.errors import ChannelException
from protocol.methods import Exchange as Methods
from protocol.tables import Field, Table, table_of
from tests.core.playbook import Playbook, PlayedChannel
from tests.spec import spec

CHOOSING = ["x-consistent-hash", "x-local-random", "x-modulus-hash", "x-random"]


class Queue:
    is_queue = True

    def __init__(self, name: str, kind: str = "classic") -> None:
        self.name = name
        self.type = kind

    def __repr__(self) -> str:
        return self.name


QUEUES = [Queue(f"queue-{number}") for number in range(10)]


class Owner:
    """As much of a vhost as the random exchanges look at."""

    def __init__(self, seed: int = 1) -> None:
        self.random_bytes = Random(seed).randbytes


def exchange_of(kind: str, bindings: Iterable[tuple[Destination, str]], arguments: dict[str, Any] | None = None) -> Exchange:
    exchange = create(kind, "x", arguments=table_of(arguments or {}))
    exchange.attach(Owner())  # type: ignore[arg-type]
    for destination, key in bindings:
        exchange.bind(destination, key, {})
    return exchange


def weighted(*weights: int) -> Exchange:
    return exchange_of("x-consistent-hash", zip(QUEUES, map(str, weights), strict=False))


def placed(exchange: Exchange, keys: int = 10_000) -> list[Destination]:
    """Where each of so many keys goes."""
    found = [exchange.route(Envelope((f"key-{number}",))) for number in range(keys)]
    assert {len(each) for each in found} == {1}, "exactly one destination"
    return [each[0] for each in found]


def assert_shares(found: Iterable[Destination], weights: dict[Destination, int]) -> None:
    """The chi-squared of the counts is below what chance exceeds once in ten thousand times (for up to nine degrees of freedom)."""
    counts = Counter(found)
    total = sum(counts.values())
    expected = {queue: total * weight / sum(weights.values()) for queue, weight in weights.items()}
    assert set(counts) <= set(expected)
    assert sum((counts[queue] - share) ** 2 / share for queue, share in expected.items()) < 33.7, counts


class TestEveryType:
    @pytest.mark.parametrize("kind", CHOOSING)
    def test_goes_nowhere_without_bindings(self, kind: str) -> None:
        key = "1" if kind == "x-consistent-hash" else ""
        exchange = exchange_of(kind, [])
        assert exchange.route(Envelope(("k",))) == ()
        exchange.bind(QUEUES[0], key, {})
        assert exchange.route(Envelope(("k",))) == (QUEUES[0],)
        exchange.unbind(QUEUES[0], key, {})
        assert exchange.route(Envelope(("k",))) == ()
        assert exchange.is_unused

    @pytest.mark.parametrize("kind", CHOOSING)
    def test_keys_of_copies_make_no_second_choice(self, kind: str) -> None:
        exchange = exchange_of(kind, [(queue, "1" if kind == "x-consistent-hash" else "") for queue in QUEUES])
        for number in range(20):
            assert len(exchange.route(Envelope((str(number), "cc", "bcc")))) == 1

    @pytest.mark.parametrize("kind", CHOOSING)
    def test_a_destination_that_goes_is_chosen_no_more(self, kind: str) -> None:
        exchange = exchange_of(kind, [(queue, "1" if kind == "x-consistent-hash" else "") for queue in QUEUES[:3]])
        assert set(placed(exchange, 100)) == set(QUEUES[:3])
        exchange.unbind_destination(QUEUES[1])
        assert set(placed(exchange, 100)) == {QUEUES[0], QUEUES[2]}

    def test_says_what_it_looks_at(self) -> None:
        looks = {kind: exchange_of(kind, []).looks_at for kind in CHOOSING}
        assert looks == dict.fromkeys(CHOOSING, LooksAt.MESSAGE) | dict.fromkeys(["x-consistent-hash", "x-modulus-hash"], LooksAt.KEY)
        assert exchange_of("x-consistent-hash", [], {"hash-header": "h"}).looks_at is LooksAt.HEADERS
        assert exchange_of("x-consistent-hash", [], {"hash-property": "message_id"}).looks_at is LooksAt.PROPERTIES
        assert set(CHOOSING) < set(exchange_types)


class TestConsistentHash:
    @spec("3.9", "distribution by weight")
    @pytest.mark.parametrize("weights", [[1], [1, 1], [1, 2, 3], [1] * 10, [10, 1, 1], [1000, 2000], [7] * 9 + [70]])
    def test_shares(self, weights: list[int]) -> None:
        assert_shares(placed(weighted(*weights), 20_000), dict(zip(QUEUES, weights, strict=False)))

    def test_keys_that_count_up_are_as_good_as_any(self) -> None:
        exchange = weighted(1, 1, 1, 1)
        for keys in (map(str, range(8000)), (f"{number:08d}" for number in range(8000)), ("a" * number for number in range(8000))):
            assert_shares([exchange.route(Envelope((key,)))[0] for key in keys], dict.fromkeys(QUEUES[:4], 1))

    @pytest.mark.parametrize("weights", [[1] * 5, [1, 2, 3, 4, 5], [100, 1, 1, 1, 1]])
    def test_a_new_destination_takes_its_share_and_nothing_else_moves(self, weights: list[int]) -> None:
        exchange = weighted(*weights)
        before = placed(exchange)
        exchange.bind(QUEUES[5], "3", {})
        after = placed(exchange)
        moved = [new for old, new in zip(before, after, strict=True) if old is not new]
        assert set(moved) == {QUEUES[5]}
        share = len(before) * 3 / (sum(weights) + 3)
        assert 0.9 * share < len(moved) < 1.1 * share

    @pytest.mark.parametrize("gone", range(5))
    def test_only_what_a_destination_had_moves_when_it_goes(self, gone: int) -> None:
        exchange = weighted(1, 2, 3, 2, 1)
        before = placed(exchange)
        exchange.unbind_destination(QUEUES[gone])
        after = placed(exchange)
        assert all(old is new for old, new in zip(before, after, strict=True) if old is not QUEUES[gone])
        weights = dict(zip(QUEUES, (1, 2, 3, 2, 1), strict=False))
        del weights[QUEUES[gone]]
        assert_shares([new for old, new in zip(before, after, strict=True) if old is QUEUES[gone]], weights)

    def test_more_weight_only_takes(self) -> None:
        exchange = weighted(1, 1, 1)
        before = placed(exchange)
        exchange.unbind(QUEUES[1], "1", {})
        exchange.bind(QUEUES[1], "5", {})
        assert {new for old, new in zip(before, placed(exchange), strict=True) if old is not new} == {QUEUES[1]}

    def test_the_order_of_binding_is_nothing(self) -> None:
        """A restart restores bindings in the order of the catalog."""
        bindings = [(queue, str(number + 1)) for number, queue in enumerate(QUEUES)]
        one, other = exchange_of("x-consistent-hash", bindings), exchange_of("x-consistent-hash", reversed(bindings))
        assert placed(one) == placed(other)

    def test_is_the_same_for_ever(self) -> None:
        """Another process, version or machine may not choose otherwise: these were written down once."""
        assert stable_hash(b"") == 16476032584258269876
        assert stable_hash(b"leveret") == 4501758401861845665
        exchange = weighted(1, 2, 3)
        assert "".join(queue.name[-1] for queue in placed(exchange, 40)) == "1121122202221110221022112210211012212112"

    def test_a_queue_and_an_exchange_of_one_name_are_two(self) -> None:
        queue, exchange = Queue("same"), create("fanout", "same")
        assert_shares(placed(exchange_of("x-consistent-hash", [(queue, "1"), (exchange, "1")])), {queue: 1, exchange: 1})

    @spec("3.9", "a second binding of the same queue is ignored")
    def test_a_second_binding_is_ignored(self) -> None:
        exchange = weighted(1, 1)
        before = placed(exchange)
        assert not exchange.bind(QUEUES[0], "50", {})
        assert not exchange.bind(QUEUES[0], "1", {"a": Field("I", 1)})
        assert not exchange.unbind(QUEUES[0], "50", {})
        assert placed(exchange) == before and exchange.binding_count == 2
        assert exchange.unbind(QUEUES[0], "1", {})
        assert set(placed(exchange)) == {QUEUES[1]}
        assert exchange.bind(QUEUES[0], "50", {})

    @pytest.mark.parametrize("key", ["1", "+3", "007", "9" * 255])
    def test_weights(self, key: str) -> None:
        exchange = exchange_of("x-consistent-hash", [(QUEUES[0], key), (QUEUES[1], "1")])
        assert len(exchange.route(Envelope(("k",)))) == 1

    @pytest.mark.parametrize("key", ["", "x", "1.0", " 1", "1 ", "1_0", "1\n", "٣", "0", "-1", "\udcff"])
    def test_what_is_no_weight(self, key: str) -> None:
        exchange = exchange_of("x-consistent-hash", [])
        with pytest.raises(ChannelException, match="The binding key must be"):
            exchange.bind(QUEUES[0], key, {})
        assert exchange.is_unused

    def test_remembers_only_so_much(self) -> None:
        exchange = weighted(1, 1, 1)
        before = placed(exchange, 100)
        placed(exchange, 2 * REMEMBERED_MAX)
        assert placed(exchange, 100) == before
        assert len(exchange._remembered) <= REMEMBERED_MAX  # type: ignore[attr-defined]


def by(argument: str, name: str) -> Callable[..., Destination]:
    exchange = exchange_of("x-consistent-hash", [(queue, "1") for queue in QUEUES], {argument: name})

    numbers = count()

    def chosen(**properties: Any) -> Destination:
        key = str(next(numbers))  # which has no say, nor has the body
        (found,) = exchange.route(Envelope((key,), b"", encode_properties(Properties(**properties), 0), key.encode()))
        return found

    return chosen


class TestHashedValues:
    @pytest.mark.parametrize("name", ["correlation_id", "message_id", "timestamp"])
    def test_properties(self, name: str) -> None:
        chosen = by("hash-property", name)
        values: list[Any] = list(range(2000)) if name == "timestamp" else list(map(str, range(2000)))
        first = [chosen(**{name: value}) for value in values]
        assert_shares(first, dict.fromkeys(QUEUES, 1))
        assert [chosen(**{name: value}) for value in values] == first

    @pytest.mark.parametrize("name", ["correlation_id", "message_id", "timestamp"])
    def test_a_missing_property_is_one_value(self, name: str) -> None:
        chosen = by("hash-property", name)
        assert len({chosen(content_type=str(number)) for number in range(50)}) == 1

    def test_headers(self) -> None:
        chosen = by("hash-header", "h")
        first = [chosen(headers=table_of({"other": number, "h": f"v{number}"})) for number in range(2000)]
        assert_shares(first, dict.fromkeys(QUEUES, 1))
        assert [chosen(headers=table_of({"h": f"v{number}"})) for number in range(2000)] == first

    def test_a_missing_header_is_one_value(self) -> None:
        chosen = by("hash-header", "h")
        tables: list[Table | None] = [None, {}, table_of({"other": 1}), table_of({"H": 1}), {"h": Field("V", None)}]
        assert len({chosen(headers=table) for table in tables * 5}) == 1

    def test_the_type_of_an_integer_is_no_difference(self) -> None:
        chosen = by("hash-header", "h")
        for number in range(50):
            assert len({chosen(headers={"h": Field(kind, number)}) for kind in "bBsuIilT"}) == 1

    def test_any_type_is_a_value(self) -> None:
        chosen = by("hash-header", "h")
        values = ["text", 5, "5", 5.0, True, None, [1, "a"], {"a": {"b": 1}}]
        for value in values:
            assert len({chosen(headers=table_of({"h": value})) for _ in range(3)}) == 1
        assert len({chosen(headers=table_of({"h": kind})) for number in range(20) for kind in (number, [number], {"n": number})}) > 5

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({"hash-header": "h", "hash-property": "message_id"}, "hash-header and hash-property are mutually exclusive"),
            ({"hash-header": "h", "hash-property": "nonsense"}, "hash-header and hash-property are mutually exclusive"),
            ({"hash-property": "user_id"}, "Unsupported property: user_id"),
            ({"hash-property": ""}, "Unsupported property: "),
            ({"hash-property": 5}, "Invalid argument 5, 'hash-property' must be a longstr"),
            ({"hash-header": None}, "Invalid argument undefined, 'hash-header' must be a longstr"),
        ],
    )
    def test_arguments_that_make_no_sense(self, arguments: dict[str, Any], text: str) -> None:
        with pytest.raises(ChannelException) as caught:
            exchange_of("x-consistent-hash", [], arguments)
        assert (caught.value.code, caught.value.text) == (406, text)


class TestModulusHash:
    @spec("3.9", "x-modulus-hash")
    def test_shares(self) -> None:
        assert_shares(placed(exchange_of("x-modulus-hash", [(queue, "") for queue in QUEUES])), dict.fromkeys(QUEUES, 1))

    def test_a_binding_more_is_a_share_more(self) -> None:
        bindings = [(QUEUES[0], "a"), (QUEUES[0], "b"), (QUEUES[0], "c"), (QUEUES[1], "a")]
        assert_shares(placed(exchange_of("x-modulus-hash", bindings)), {QUEUES[0]: 3, QUEUES[1]: 1})

    def test_the_order_of_binding_is_nothing(self) -> None:
        bindings = [(queue, key) for queue in QUEUES for key in "ab"]
        assert placed(exchange_of("x-modulus-hash", bindings)) == placed(exchange_of("x-modulus-hash", reversed(bindings)))


class TestRandom:
    @spec("3.9", "x-random, x-local-random")
    @pytest.mark.parametrize("kind", ["x-random", "x-local-random"])
    def test_shares(self, kind: str) -> None:
        exchange = exchange_of(kind, [(queue, "") for queue in QUEUES])
        one_key = [exchange.route(Envelope(("k",)))[0] for _ in range(10_000)]
        assert_shares(one_key, dict.fromkeys(QUEUES, 1))

    def test_a_binding_more_is_a_share_more(self) -> None:
        bindings = [(QUEUES[0], "a"), (QUEUES[0], "b"), (QUEUES[0], "c"), (QUEUES[1], "a")]
        assert_shares(placed(exchange_of("x-random", bindings)), {QUEUES[0]: 3, QUEUES[1]: 1})

    def test_the_bytes_decide(self) -> None:
        one, other = (exchange_of("x-random", [(queue, "") for queue in QUEUES]) for _ in range(2))
        assert placed(one, 100) == placed(other, 100)
        other.attach(Owner(2))  # type: ignore[arg-type]
        assert placed(one, 100) != placed(other, 100)

    @pytest.mark.parametrize(
        ("destination", "key", "text"),
        [
            (QUEUES[0], "k", "Non empty binding 'k' key not permitted"),
            (create("fanout", "x"), "", "Destination not found"),
            (Queue("q", "quorum"), "", "Queue type rabbit_quorum_queue not valid for this exchange type"),
        ],
    )
    def test_what_is_not_local(self, destination: Destination, key: str, text: str) -> None:
        """RabbitMQ 4.1, rabbit_exchange_type_local_random:validate_binding."""
        with pytest.raises(ChannelException) as caught:
            exchange_of("x-local-random", []).bind(destination, key, {})
        assert (caught.value.code, caught.value.text) == (406, text)


class TestInABroker:
    """Caches must not keep what isn't the key's to say."""

    def bound(self, channel: PlayedChannel, kind: str, arguments: dict[str, Any] | None = None) -> None:
        channel.exchange("x", kind, arguments=arguments)
        for name in "ab":
            channel.declare(name)
            channel.bind(name, "x", "1" if kind == "x-consistent-hash" else "")

    @pytest.mark.parametrize("through", ["x", "outer"])
    def test_chance_is_asked_for_each_message(self, book: Playbook, channel: PlayedChannel, through: str) -> None:
        self.bound(channel, "x-random")
        channel.exchange("outer", "fanout")
        channel.do(Methods.Bind, source="outer", destination="x")
        channel.publish("k", *[b"%d" % number for number in range(100)], exchange=through)
        assert 30 < len(book.ready("a")) < 70
        assert sorted(map(int, [*book.ready("a"), *book.ready("b")])) == list(range(100))

    def test_each_header_goes_its_own_way(self, book: Playbook, channel: PlayedChannel) -> None:
        self.bound(channel, "x-consistent-hash", {"hash-header": "h"})
        for number in range(100):
            channel.publish("k", b"%d" % (number % 50), exchange="x", headers=table_of({"h": number % 50}))
        a, b = book.ready("a"), book.ready("b")
        assert len(a) + len(b) == 100 and len(a) > 20 and len(b) > 20
        assert not set(a) & set(b)

    @pytest.mark.parametrize("kind", ["x-consistent-hash", "x-modulus-hash", "x-random"])
    def test_dead_letters_and_alternates_come_through(self, book: Playbook, channel: PlayedChannel, kind: str) -> None:
        self.bound(channel, kind)
        channel.exchange("direct", arguments={"alternate-exchange": "x"})
        channel.declare("dying", arguments={"x-dead-letter-exchange": "x", "x-max-length": 0})
        for number in range(40):
            channel.publish(f"k{number}", b"alternate", exchange="direct")
            channel.publish("dying", b"dead")
        book.settle()
        assert sorted([*book.ready("a"), *book.ready("b")]) == [b"alternate"] * 40 + [b"dead"] * 40
        assert book.ready("a").count(b"alternate") not in (0, 40)

    def test_a_route_by_key_is_kept_and_one_by_chance_is_not(self, book: Playbook, channel: PlayedChannel) -> None:
        self.bound(channel, "x-modulus-hash")
        channel.exchange("r", "x-random")
        channel.bind("a", "r")
        channel.publish("k", b"1", exchange="x")
        channel.publish("k", b"1", exchange="r")
        plain = {route.exchange.name: route.plain for route in channel.peer.session.publisher._routes.values()}
        assert plain == {"x": True, "r": False}

    @pytest.mark.parametrize(("kind", "cost"), [("fanout", 6), ("headers", 6), ("x-recent-history", 6), ("x-random", 3)])
    def test_a_publish_costs_what_it_puts_into_queues(self, channel: PlayedChannel, kind: str, cost: int) -> None:
        """The budget of a read is to be fair, whatever the type (docs/architecture.md, "The turn")."""
        self.bound(channel, kind)
        header = encode_properties(Properties(), 1)
        publish = channel.peer.session.publisher.publish
        assert publish(channel.open, join_routing("x", "k"), 0, [header], [b"1", b"2", b"3"]) == cost
        assert publish(channel.open, join_routing("x", "k"), 0, [header] * 3, [b"1", b"2", b"3"]) == cost

    @pytest.mark.parametrize("kind", ["x-consistent-hash", "x-modulus-hash", "x-random", "x-local-random"])
    def test_survives_a_restart(self, book: Playbook, channel: PlayedChannel, kind: str) -> None:
        arguments = {"hash-header": "h", "alternate-exchange": "ae"} if kind == "x-consistent-hash" else {"alternate-exchange": "ae"}
        channel.exchange("x", kind, durable=True, arguments=arguments)
        for number in range(8):
            channel.declare(f"q{number}", durable=True)
            channel.bind(f"q{number}", "x", str(number + 1) if kind == "x-consistent-hash" else "")
        book.settle()

        def go() -> dict[str, set[bytes]]:
            publisher = book.connect().channel()
            for number in range(50):
                publisher.publish(f"k{number}", b"%d" % number, exchange="x", headers=table_of({"h": f"v{number}"}), persistent=False)
            book.settle()
            return {f"q{number}": set(book.ready(f"q{number}")) for number in range(8)}

        before = go()
        book.restart()
        exchange = book.broker.vhosts["/"].exchanges["x"]
        assert (exchange.type, exchange.alternate, exchange.binding_count) == (kind, "ae", 8)
        after = go()
        assert sum(map(len, after.values())) == 50
        if "hash" in kind:
            assert after == before
