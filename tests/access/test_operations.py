"""What operators change while the broker runs: it acts at once, and a restart finds it (contract 1.5, 1.9, 9)."""

from __future__ import annotations

from typing import Any

import pytest

from broker.access import passwords
from broker.access.users import User
from broker.config import DefaultLimit, DefaultPolicy, DefaultUser
from broker.core.policy import InvalidPolicy
from broker.operations import InvalidOperation, NotFound, Operations
from protocol.errors import ChannelException
from protocol.methods import Exchange
from protocol.tables import table_of
from tests.access.conftest import Office
from tests.core.playbook import Delivered, PlayedPeer
from tests.spec import spec


def refusal(peer: PlayedPeer) -> str:
    """Why the connection was closed."""
    assert peer.wire.closed is not None
    return str(peer.wire.closed)


class TestUsers:
    def test_add_and_log_in_and_restart(self, office: Office) -> None:
        operations = office.operations
        operations.add_user("u", "pässword", ["monitoring"])
        operations.set_permissions("u", "/", "^c", "^w", "^r")
        operations.set_topic_permissions("u", "/", "amq.topic", "^a", "^b")
        operations.set_user_limits("u", {"max-channels": 2})
        before = operations.user("u").to_json()
        office.restart()
        user = office.operations.user("u")
        assert user.to_json() == before
        assert user.has_password("pässword".encode()) and user.hashing_algorithm == passwords.SHA256
        assert office.connect(user="u").wire.closed is None

    def test_another_hash(self, office: Office) -> None:
        user = Operations(office.broker, office.users, hashing_algorithm=passwords.SHA512).add_user("u", "p")
        assert user.hashing_algorithm == passwords.SHA512 and user.has_password(b"p") and len(user.password_hash) == 4 + 64

    def test_a_password_can_be_changed_and_cleared(self, office: Office) -> None:
        operations = office.operations
        user = operations.add_user("u", "one")
        operations.set_password("u", "two")
        assert user.has_password(b"two") and not user.has_password(b"one")
        with pytest.raises(InvalidOperation, match="can't be blank"):
            operations.set_password("u", "")
        operations.clear_password("u")
        assert not user.has_password(b"two")
        assert not operations.add_user("v", None).has_password(b"")
        office.restart()
        assert not office.operations.user("u").has_password(b"two")

    @spec("1.9", "Forced closes are 320 ... `user 'u' is deleted`")
    def test_a_deleted_user_is_thrown_out(self, office: Office) -> None:
        office.operations.add_user("u", "p")
        office.operations.set_permissions("u", "/", ".*", ".*", ".*")
        peer, other = office.connect(user="u"), office.connect()
        office.operations.delete_user("u")
        assert refusal(peer) == "320 CONNECTION_FORCED - user 'u' is deleted"
        assert other.wire.closed is None
        office.restart()
        with pytest.raises(NotFound, match="user 'u' does not exist"):
            office.operations.user("u")

    def test_deleted_in_the_middle_of_the_handshake(self, office: Office) -> None:
        office.operations.add_user("u", "p")
        office.operations.set_permissions("u", "/", ".*", ".*", ".*")
        peer = PlayedPeer(office, (), "u", None)
        office.operations.delete_user("u")
        peer.open("/")
        assert refusal(peer) == "530 NOT_ALLOWED - access to vhost '/' refused for user 'u'"

    @pytest.mark.parametrize(
        ("call", "problem"),
        [
            (lambda o: o.add_user("guest", "p"), "user 'guest' already exists"),
            (lambda o: o.add_user("", "p"), "user name '': expected 1 to 255 bytes, not 0"),
            (lambda o: o.add_user("ü" * 128, "p"), "expected 1 to 255 bytes, not 256"),
            (lambda o: o.set_password("x", "p"), "user 'x' does not exist"),
            (lambda o: o.clear_password("x"), "user 'x' does not exist"),
            (lambda o: o.set_tags("x", []), "user 'x' does not exist"),
            (lambda o: o.delete_user("x"), "user 'x' does not exist"),
            (lambda o: o.set_permissions("x", "/", "", "", ""), "user 'x' does not exist"),
            (lambda o: o.set_permissions("guest", "x", "", "", ""), "virtual host 'x' does not exist"),
            (lambda o: o.set_permissions("guest", "/", "(", "", ""), r"invalid regular expression '\('"),
            (lambda o: o.set_topic_permissions("guest", "/", "e", "", "["), r"invalid regular expression '\['"),
            (lambda o: o.clear_permissions("guest", "x"), "virtual host 'x' does not exist"),
            (lambda o: o.clear_topic_permissions("guest", "x"), "virtual host 'x' does not exist"),
            (
                lambda o: o.set_user_limits("guest", {"max-queues": 1}),
                "limit 'max-queues' of user 'guest': expected one of max-connections",
            ),
            (lambda o: o.set_user_limits("guest", {"max-channels": "1"}), "'1': expected a whole number"),
            (lambda o: o.set_user_limits("guest", {"max-channels": True}), "True: expected a whole number"),
        ],
    )
    def test_what_is_refused_changes_nothing(self, office: Office, call: Any, problem: str) -> None:
        before = [user.to_json() for user in office.users]
        with pytest.raises(ValueError, match=problem):
            call(office.operations)
        assert [user.to_json() for user in office.users] == before
        assert not office.broker.outbox.has_batch

    @spec("9.2", "Decisions cached, dropped when permissions change.")
    def test_what_is_revoked_acts_at_once(self, office: Office) -> None:
        channel = office.connect().channel()
        channel.declare("q", durable=True)
        channel.publish("q", b"1")
        office.settle()
        channel.take()
        office.operations.set_permissions("guest", "/", ".*", "^$", ".*")
        channel.publish("q", b"2")
        office.settle()
        (closed,) = channel.take()
        assert "write access to exchange 'amq.default' in vhost '/' refused for user 'guest'" in closed.method.reply_text
        assert office.ready("q") == [b"1"]

    def test_who_lost_a_vhost_stays_and_may_nothing(self, office: Office) -> None:
        """As RabbitMQ: the connection isn't closed."""
        peer = office.connect()
        office.operations.clear_permissions("guest", "/")
        channel = peer.channel()
        channel.declare("q")
        office.settle()
        (closed,) = channel.take()
        assert closed.method.reply_text.startswith("ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused")
        assert peer.wire.closed is None
        assert refusal(office.connect()) == "530 NOT_ALLOWED - access to vhost '/' refused for user 'guest'"

    def test_topic_permissions_come_and_go(self, office: Office) -> None:
        channel = office.connect().channel()
        office.operations.set_topic_permissions("guest", "/", "amq.topic", "^a", ".*")
        channel.publish("a.b", b"1", exchange="amq.topic")
        channel.publish("b", b"2", exchange="amq.topic")
        office.settle()
        (closed,) = channel.take()
        assert "write access to topic 'b' in exchange 'amq.topic'" in closed.method.reply_text
        office.operations.clear_topic_permissions("guest", "/", "amq.topic")
        again = office.connect().channel()
        again.publish("b", b"2", exchange="amq.topic")
        office.settle()
        assert again.take() == []

    @spec("9.2", "at a new declare: dead-letter exchange = read on the queue, write on the exchange")
    @pytest.mark.parametrize("name", ["q", ""])
    def test_dead_letters_need_permissions(self, office: Office, name: str) -> None:
        """Whoever may not write to an exchange may not have a queue, of whatever name, do so."""
        office.operations.set_permissions("guest", "/", ".*", "^allowed$", ".*")
        for exchange, refused in (("amq.fanout", True), ("allowed", False)):
            channel = office.connect().channel()
            channel.declare(name, exclusive=True, arguments={"x-dead-letter-exchange": exchange})
            office.settle()
            (answer,) = channel.take()
            assert ("ACCESS_REFUSED" in getattr(answer.method, "reply_text", "")) is refused

    def test_limits_are_added_to(self, office: Office) -> None:
        """As RabbitMQ: a definition without limits takes none away."""
        office.operations.set_user_limits("guest", {"max-channels": 2})
        office.operations.put_user(User("guest"))
        office.operations.put_user(User("guest", limits={"max-connections": 5}))
        assert office.operations.user("guest").limits == {"max-channels": 2, "max-connections": 5}


class TestVHosts:
    def test_add_change_restart(self, office: Office) -> None:
        operations = office.operations
        operations.put_vhost("v", description="of orders", tags=["a", "b"])
        operations.put_vhost("v", default_queue_type="quorum")
        assert operations.user("guest").permissions("v") is None
        operations.put_vhost("mine", acting_user="guest")
        office.restart()
        assert repr(office.operations.user("guest").permissions("mine")) == "Permissions('.*', '.*', '.*')"
        expected = {"description": "of orders", "tags": ["a", "b"], "default_queue_type": "quorum"}
        assert office.operations.vhost("v").metadata == expected

    @spec("1.9", "Forced closes are 320 ... `vhost 'v' is deleted`")
    def test_deleted_with_all_that_is_in_it(self, office: Office) -> None:
        operations = office.operations
        operations.put_vhost("v")
        operations.set_permissions("guest", "v", ".*", ".*", ".*")
        operations.set_topic_permissions("guest", "v", "amq.topic", ".*", ".*")
        operations.set_policy("v", "p", ".*", {"max-length": 3})
        operations.set_policy("v", "o", ".*", {"max-length": 3}, operator=True)
        operations.set_parameter("v", "shovel", "s", {"src": "x"})
        operations.set_vhost_limits("v", {"max-queues": 9})
        peer, other = office.connect(vhost="v"), office.connect()
        channel = peer.channel()
        channel.declare("q", durable=True)
        channel.declare("mine", exclusive=True)
        channel.exchange("x", "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
        channel.bind("q", "amq.topic", "k")
        channel.do(Exchange.Bind, destination="amq.fanout", source="amq.direct", routing_key="k")
        channel.publish("q", b"1")
        channel.consume("q")
        office.settle()
        operations.delete_vhost("v")
        assert refusal(peer) == "320 CONNECTION_FORCED - vhost 'v' is deleted"
        assert other.wire.closed is None
        # A crash among the deletions must leave no entry of a vhost that isn't there: the vhost's own goes last.
        office.turn()
        assert office.shipped[-1].deletions[-1] == "vhost/v"
        office.operations.put_vhost("w", description="made and gone in one turn")
        office.settle()
        office.operations.put_vhost("w", description="changed")
        office.operations.declare_queue("w", "q", durable=True, auto_delete=False, arguments={})
        office.operations.delete_vhost("w")
        office.turn()
        assert office.shipped[-1].deletions[-1] == "vhost/w"
        office.settle()
        left = [entry.key for entry in office.disk.entries() if "/v/" in entry.key or entry.key.endswith("/v")]
        assert left == []
        office.restart()
        assert list(office.broker.vhosts) == ["/"]
        operations = office.operations
        assert operations.user("guest").vhosts() == ["/"]
        # A vhost of the same name starts empty.
        operations.put_vhost("v")
        operations.set_permissions("guest", "v", ".*", ".*", ".*")
        again = office.connect(vhost="v").channel()
        again.declare("q", durable=True)
        again.get("q")
        office.settle()
        assert again.names() == ["Queue.DeclareOk", "Basic.GetEmpty"]

    @pytest.mark.parametrize(
        ("call", "problem"),
        [
            (lambda o: o.put_vhost(""), "virtual host name '': expected 1 to 255 bytes"),
            (lambda o: o.put_vhost("v", default_queue_type="stream"), "default queue type 'stream': expected one of classic, quorum"),
            (lambda o: o.delete_vhost("x"), "virtual host 'x' does not exist"),
            (lambda o: o.set_policy("x", "p", "", {"max-length": 1}), "virtual host 'x' does not exist"),
            (
                lambda o: o.set_policy("/", "p", "", {"expires": 1}, priority="high"),
                'priority should be number, actually was <<"high">>',
            ),
            (lambda o: o.set_policy("/", "p", "", {"max-length": 1}, priority=None), "priority should be number, actually was null"),
            (lambda o: o.clear_policy("/", "p"), "policy 'p' in virtual host '/' does not exist"),
            (lambda o: o.clear_policy("/", "p", operator=True), "operator policy 'p' in virtual host '/' does not exist"),
            (lambda o: o.set_parameter("/", "policy", "p", {}), "policies may not be set"),
            (lambda o: o.set_parameter("/", "operator_policy", "p", {}), "expected an object with pattern and definition"),
            (lambda o: o.set_parameter("/", "vhost-limits", "other", {}), "expected an object named 'limits'"),
            (lambda o: o.set_vhost_limits("/", {"max-channels": 1}), "expected one of max-connections, max-queues"),
            (lambda o: o.set_vhost_limits("/", {"max-queues": 1.5}), "1.5: expected a whole number"),
            (lambda o: o.clear_parameter("/", "c", "n"), "parameter 'n' of component 'c' in virtual host '/' does not exist"),
            (lambda o: o.clear_global_parameter("n"), "global parameter 'n' does not exist"),
            (lambda o: o.declare_queue("/", "amq.q", durable=True, auto_delete=False, arguments={}), "reserved prefix"),
            (lambda o: o.bind("/", "amq.direct", "queue", "x", "", {}), "no queue 'x' in vhost '/'"),
            (lambda o: o.bind("/", "", "exchange", "amq.direct", "", {}), "default exchange"),
        ],
    )
    def test_what_is_refused(self, office: Office, call: Any, problem: str) -> None:
        with pytest.raises(ValueError, match=problem):
            call(office.operations)
        assert not office.broker.outbox.has_batch

    def test_parameters_survive(self, office: Office) -> None:
        office.operations.set_parameter("/", "federation-upstream", "up", {"uri": "amqp://", "list": [1, None]})
        office.operations.set_parameter("/", "operator_policy", "op", {"pattern": "^q", "definition": {"max-length": 5}, "priority": 3})
        office.operations.set_global_parameter("cluster_name", "rabbit@here")
        office.operations.set_global_parameter("gone", 1)
        office.operations.clear_global_parameter("gone")
        office.restart()
        vhost = office.operations.vhost("/")
        assert vhost.parameters == {("federation-upstream", "up"): {"uri": "amqp://", "list": [1, None]}}
        assert vhost.operator_policies["op"].priority == 3
        assert office.broker.global_parameters == {"cluster_name": "rabbit@here"}
        office.operations.clear_parameter("/", "federation-upstream", "up")
        office.operations.clear_parameter("/", "operator_policy", "op")
        office.restart()
        assert office.operations.vhost("/").parameters == {} and office.operations.vhost("/").operator_policies == {}

    def test_a_bad_policy(self, office: Office) -> None:
        with pytest.raises(InvalidPolicy, match="are not recognised policy settings"):
            office.operations.set_policy("/", "p", ".*", {"foo": 1})


class TestLimits:
    @spec("1.5", "vhost limit: the same + `: connection limit (1) is reached`")
    def test_connections_of_a_vhost(self, office: Office) -> None:
        office.operations.set_vhost_limits("/", {"max-connections": 1})
        first = office.connect()
        text = "530 NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (1) is reached"
        assert refusal(office.connect()) == text
        first.close()
        assert office.connect().wire.closed is None
        office.operations.set_vhost_limits("/", {"max-connections": -1})
        assert office.connect().wire.closed is None

    @spec("1.5", "user limit 530 `connection refused for user 'u': user connection limit (0) is reached`")
    def test_connections_of_a_user(self, office: Office) -> None:
        office.operations.set_user_limits("guest", {"max-connections": 0})
        text = "530 NOT_ALLOWED - connection refused for user 'guest': user connection limit (0) is reached"
        assert refusal(office.connect()) == text
        office.operations.set_user_limits("guest", {"max-connections": 1})
        peer = office.connect()
        assert peer.wire.closed is None
        assert "user connection limit (1) is reached" in refusal(office.connect())
        peer.lose()
        assert office.connect().wire.closed is None
        office.operations.clear_user_limits("guest")
        assert office.connect().wire.closed is None

    @spec("1.5", "Order: node limit, vhost, user limit, permission.")
    def test_the_order(self, office: Office) -> None:
        office.broker.connection_max = 0
        office.operations.set_vhost_limits("/", {"max-connections": 0})
        office.operations.set_user_limits("guest", {"max-connections": 0})
        office.operations.clear_permissions("guest", "/")
        assert "node connection limit (0) is reached" in refusal(office.connect(vhost="x"))
        office.broker.connection_max = None
        assert "vhost x not found" in refusal(office.connect(vhost="x"))
        assert "connection limit (0)" in refusal(office.connect())
        office.operations.set_vhost_limits("/", {})
        assert "user connection limit (0)" in refusal(office.connect())
        office.operations.clear_user_limits("guest")
        assert refusal(office.connect()) == "530 NOT_ALLOWED - access to vhost '/' refused for user 'guest'"

    def test_channels_of_a_user(self, office: Office) -> None:
        office.operations.set_user_limits("guest", {"max-channels": 2})
        peer, other = office.connect(), office.connect()
        peer.channel(), other.channel()
        other.channel()
        text = "530 NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum allowed user limit of (2)"
        assert refusal(other) == text
        peer.channel()
        assert peer.wire.closed is None  # the other's channels went with it

    def test_channels_of_the_node(self, office: Office) -> None:
        office.broker.channel_max_per_node = 1
        peer, other = office.connect(), office.connect()
        channel = peer.channel()
        channel.close()
        peer.channel()
        other.channel()
        text = "number of channels opened on node 'rabbit@localhost' has reached the maximum allowed limit of (1)"
        assert text in refusal(other)

    @spec("9.4", "vhost max-queues: a new declare `[s]` 406")
    def test_queues_of_a_vhost(self, office: Office) -> None:
        office.operations.set_vhost_limits("/", {"max-queues": 1})
        channel = office.connect().channel()
        # What it holds is in a queue of its own, which doesn't count.
        channel.exchange("late", "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
        channel.publish("k", b"1", exchange="late", headers=table_of({"x-delay": 1000}))
        channel.declare("q")
        channel.declare("q")
        channel.declare("r")
        office.settle()
        *_, closed = channel.take()
        assert closed.method.reply_text == "PRECONDITION_FAILED - cannot declare queue 'r': queue limit in vhost '/' (1) is reached"
        with pytest.raises(ChannelException, match="queue limit"):
            office.operations.declare_queue("/", "s", durable=True, auto_delete=False, arguments={})

    def test_vhosts_of_the_node(self, office: Office) -> None:
        operations = Operations(office.broker, office.users, vhost_max=2)
        operations.put_vhost("v")
        with pytest.raises(InvalidOperation, match="cannot create vhost 'w': vhost limit of 2 is reached"):
            operations.put_vhost("w")
        assert operations.put_vhost("v", description="still there").metadata == {"description": "still there"}


class TestNewVHosts:
    def test_get_limits_policies_and_users(self, office: Office) -> None:
        operations = Operations(
            office.broker,
            office.users,
            default_limits=[DefaultLimit("^other", 1, 1), DefaultLimit("^dev", max_queues=7), DefaultLimit(".*", 2, 2)],
            default_policies=[DefaultPolicy("cap", "^dev", "^tmp", definition=(("max-length", 5),)), DefaultPolicy("not", "^prod")],
            default_users=[DefaultUser("dev", "secret", ("monitoring",), "^dev", "^c", "^w", "^r"), DefaultUser("x", "x", (), "^prod")],
        )
        vhost = operations.put_vhost("dev-1")
        assert vhost.limit("max-queues") == 7 and vhost.limit("max-connections") is None
        assert {name: policy.definition for name, policy in vhost.operator_policies.items()} == {"cap": {"max-length": 5}}
        user = operations.user("dev")
        assert user.has_password(b"secret") and user.tags == {"monitoring"} and "x" not in office.users
        assert repr(user.permissions("dev-1")) == "Permissions('^c', '^w', '^r')"
        operations.set_password("dev", "mine")
        operations.put_vhost("dev-2")
        assert user.has_password(b"mine") and user.vhosts() == ["dev-1", "dev-2"]


class TestDefaultQueueType:
    def test_a_vhosts(self, office: Office) -> None:
        office.operations.put_vhost("/", default_queue_type="quorum")
        channel = office.connect().channel()
        channel.declare("q", durable=True)
        channel.declare("q", durable=True)  # said again it is the same
        channel.declare("q", durable=True, arguments={"x-queue-type": "quorum"})
        channel.declare("mine", exclusive=True)
        channel.declare("passing", durable=True, auto_delete=True)
        channel.declare("asked", durable=True, arguments={"x-queue-type": "classic"})
        office.settle()
        types = {name: queue.type for name, queue in office.broker.vhosts["/"].queues.items()}
        assert types == {"q": "quorum", "mine": "classic", "passing": "classic", "asked": "classic"}
        assert len(channel.take()) == 6

    def test_the_nodes(self, office: Office) -> None:
        office.broker.default_queue_type = "quorum"
        channel = office.connect().channel()
        channel.declare("q", durable=True)
        office.operations.declare_queue("/", "r", durable=True, auto_delete=False, arguments={})
        office.operations.put_vhost("/", default_queue_type="classic")
        channel.declare("s", durable=True)
        office.settle()
        assert {name: queue.type for name, queue in office.broker.vhosts["/"].queues.items()} == {
            "q": "quorum",
            "r": "quorum",
            "s": "classic",
        }


def test_deliveries_go_on_for_a_consumer_whose_permission_is_gone(office: Office) -> None:
    """As RabbitMQ: permissions are asked at basic.consume."""
    channel = office.connect().channel()
    channel.declare("q")
    channel.consume("q")
    office.settle()
    channel.take()
    office.operations.add_user("w", "p")
    office.operations.set_permissions("w", "/", "", ".*", "")
    office.operations.set_permissions("guest", "/", "", "", "")
    office.connect(user="w").channel().publish("q", b"1")
    office.settle()
    (delivered,) = channel.take()
    assert isinstance(delivered, Delivered) and delivered.body == b"1"
