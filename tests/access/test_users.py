"""Users: what can be changed, and what the catalog keeps."""

import json
from typing import Any

import pytest

from broker.access import passwords
from broker.access.users import User, Users
from broker.app import build
from broker.config import Config
from broker.core.permissions import InvalidPattern, Permissions, TopicPermissions
from storage.api import Corrupt
from storage.memory import MemoryStore


def restored(user: User) -> User:
    return User.from_json(json.loads(json.dumps(user.to_json())))


class TestUsers:
    def test_add_change_delete(self) -> None:
        users = Users()
        user = users.put(User("u", ["management"]))
        user.set_password(b"one")
        assert users.get("u") is user and "u" in users and len(users) == 1 and list(users) == [user]
        assert user.has_password(b"one") and user.vhosts() == []
        user.set_password(b"two")
        assert user.has_password(b"two") and not user.has_password(b"one")
        user.clear_password()
        assert not user.has_password(b"two") and not user.has_password(b"")
        user.set_tags(["administrator"])
        assert user.tags == {"administrator"}
        assert users.delete("u") is user
        assert users.get("u") is None and len(users) == 0

    def test_an_empty_password_opens_nothing(self) -> None:
        user = User("u", password_hash=passwords.hash_password(b""))
        assert not user.has_password(b"")
        assert not User("v").has_password(b"")
        with pytest.raises(ValueError, match="needs a name"):
            User("")

    def test_put_keeps_the_identity_that_connections_hold(self) -> None:
        users = Users()
        user = users.put(User("u", password_hash=passwords.hash_password(b"one")))
        user.grant("v", Permissions("c", "w", "r"))
        given = User("u", ["monitoring"], password_hash=passwords.hash_password(b"two"), limits={"max-channels": 3})
        given.grant("w", Permissions("", "", ""))
        seen = user.revision
        assert users.put(given) is user
        assert user.has_password(b"two") and user.tags == {"monitoring"} and user.limits == {"max-channels": 3}
        assert user.vhosts() == ["v", "w"] and user.revision > seen
        other = User("other")
        assert users.put(other) is other and users.get("other") is other

    def test_forget_vhost(self) -> None:
        one, other, third = User("one"), User("other"), User("third")
        for user in (one, third):
            user.grant("v", Permissions("", "", ""))
        one.grant("w", Permissions("", "", ""))
        other.grant_topic("v", "tx", TopicPermissions("", "", user="other", vhost="v"))
        third.grant_topic("v", "tx", TopicPermissions("", "", user="third", vhost="v"))
        users = Users([one, other, third])
        assert users.forget_vhost("v") == [one, other, third]
        assert users.forget_vhost("v") == []
        assert one.vhosts() == ["w"] and third.vhosts() == [] and third.topic_permissions() == {}

    def test_loopback_users(self) -> None:
        assert Users().is_confined("guest") and not Users().is_confined("u")
        assert not Users(loopback_users=[]).is_confined("guest")


def test_an_entry_that_makes_no_sense_is_named_at_the_start() -> None:
    store = MemoryStore()
    store.catalog.put("user/u", b'{"name": "u", "tags": [], "permissions": [{"vhost": "/", "configure": "(", "write": "", "read": ""}]}')
    with pytest.raises(Corrupt, match=r"the catalog's entry user/u makes no sense \(invalid regular expression '\('.*leveret log repair"):
        build(Config(), store)


class TestJson:
    def test_survives(self) -> None:
        user = User("ü\udcff", ["b", "a"], limits={"max-connections": 5})
        user.set_password(b"\xff\x00", passwords.SHA512)
        user.grant("/", Permissions("^c", ".*", ""))
        user.grant_topic("/", "tx", TopicPermissions("^{username}", ".*", user=user.name, vhost="/"))
        again = restored(user)
        assert again.to_json() == user.to_json()
        assert again.has_password(b"\xff\x00") and again.tags == {"a", "b"} and again.limits == {"max-connections": 5}
        assert again.permits("configure", "queue", "c1", "/") and not again.permits("read", "queue", "c1", "/")
        given = again.topic_permission("/", "tx")
        assert given is not None and given.permits("write", "ü\udcff.x") and not given.permits("write", "x")

    def test_the_same_user_is_the_same_text(self) -> None:
        one, other = User("u", ["c", "b", "a"]), User("u", ["c", "b", "c", "a"])
        assert json.dumps(one.to_json()) == json.dumps(other.to_json())

    def test_tags_keep_their_order(self) -> None:
        """As in RabbitMQ: Terraform compares lists of tags."""
        assert restored(User("u", ["c", "b", "a"])).to_json()["tags"] == ["c", "b", "a"]

    @pytest.mark.parametrize(
        ("tags", "expected"),
        [("", set()), ("a", {"a"}), ("a,b", {"a", "b"}), (" a , b,", {"a", "b"}), (["a", "b"], {"a", "b"}), ([], set())],
    )
    def test_a_definition_of_rabbitmq(self, tags: Any, expected: set[str]) -> None:
        stored = passwords.encode(passwords.hash_password(b"secret", passwords.MD5))
        user = User.from_json({"name": "u", "password_hash": stored, "hashing_algorithm": passwords.MD5, "tags": tags, "limits": {}})
        assert user.has_password(b"secret") and user.tags == expected and user.vhosts() == []

    def test_a_definition_with_a_password(self) -> None:
        assert User.from_json({"name": "u", "password": "pässword", "tags": []}).has_password("pässword".encode())
        assert not User.from_json({"name": "u", "tags": []}).has_password(b"")

    @pytest.mark.parametrize(
        "change",
        [
            {"name": None},
            {"name": ""},
            {"name": 5},
            {"tags": None},
            {"tags": 5},
            {"tags": [5]},
            {"limits": 5},
            {"password": 5},
            {"password_hash": 5},
            {"password_hash": "?"},
            {"password": "p", "password_hash": ""},
            {"hashing_algorithm": "rot13"},
            {"hashing_algorithm": ["x"]},
            {"permissions": [{}]},
            {"permissions": ["v"]},
            {"permissions": [{"vhost": "v", "configure": "", "write": "", "read": 5}]},
            {"topic_permissions": [{"vhost": "v", "exchange": None, "write": "", "read": ""}]},
        ],
    )
    def test_what_is_no_user(self, change: dict[str, Any]) -> None:
        with pytest.raises(ValueError):
            User.from_json({"name": "u", "tags": [], **change})

    def test_a_bad_pattern_says_which(self) -> None:
        with pytest.raises(InvalidPattern) as caught:
            User.from_json({"name": "u", "tags": [], "permissions": [{"vhost": "v", "configure": "", "write": "(", "read": ""}]})
        assert caught.value.pattern == "("
