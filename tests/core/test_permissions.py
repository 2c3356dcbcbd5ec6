"""Permissions (contract 9.1, 9.2). What the patterns permit was asked of the oracle."""

import warnings

import pytest

from broker.core.permissions import (
    DECISIONS_MAX,
    Identity,
    InvalidPattern,
    Permissions,
    TopicPermissions,
    compiled,
    octets,
)
from protocol.errors import ChannelException, ConnectionException


def permits(pattern: str, name: str) -> bool:
    return Permissions("", "", pattern).permits("read", name)


class TestPermissions:
    def test_each_kind_has_its_pattern(self) -> None:
        permissions = Permissions("^c", "^w", "^r")
        for kind in ("configure", "write", "read"):
            assert [name for name in ("c", "w", "r") if permissions.permits(kind, name)] == [kind[0]]  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("pattern", "name", "permitted"),
        [
            ("", "", True),
            ("", "a", False),
            (".*", "", True),
            (".*", "anything", True),
            ("^a", "abc", True),
            ("^a", "ba", False),
            ("a$", "ba", True),
            ("b", "abc", True),
            ("^a$", "a\n", True),
            ("^a.", "a\n", False),
            ("^.$", "é", False),
            ("^..$", "é", True),
            (r"^\w+$", "é", False),
            ("é", "café", True),
            ("[[:alpha:]]{3}", "abc", True),
            ("[[:alpha:]]{3}", "ab1", False),
            (r"^[[:^digit:]_]$", "5", False),
            (r"^a\z", "a\n", False),
            (r"^a\Z", "a\n", True),
            (r"^\Qa.b\E$", "a.b", True),
            (r"^\Qa.b\E$", "axb", False),
            ("^(?<n>a)(?P=n)$", "aa", True),
            ("^a{,3}$", "aa", False),
            ("^a{,3}$", "a{,3}", True),
            ("^[]a]+$", "a]", True),
            ("^[^]a]+$", "a]", False),
            ("^[a[]+$", "[a", True),
            ("^[a||b]+$", "a|b", True),
            (r"^\x41\h\e$", "A \x1b", True),
            (r"^[\]x]$", "]", True),
            ("(?i)^A", "abc", True),
            ("a++", "aaa", True),
            ("^\udcff$", "\udcff", True),
        ],
    )
    def test_patterns(self, pattern: str, name: str, permitted: bool) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(2):  # from the pattern, and then from memory
                assert permits(pattern, name) is permitted

    @pytest.mark.parametrize(
        "pattern", ["(", "*", "[a", "a\\", "[[:nope:]]", "[[:^alpha:]]", "[[.a.]]", r"\p{L}", "(*UTF8)x", "a(?i)b", "a{9999999999}"]
    )
    def test_what_would_be_misread_is_refused(self, pattern: str) -> None:
        for make in (lambda: Permissions("", pattern, ""), lambda: TopicPermissions(pattern, "", user="u", vhost="v")):
            with pytest.raises(InvalidPattern) as caught:
                make()
            assert caught.value.pattern == pattern and pattern in str(caught.value)

    def test_every_octet_reads_itself(self) -> None:
        """No character in a pattern of plain names means more than itself, and no octet of a name is lost."""
        for number in range(256):
            name = bytes([number]).decode("utf-8", "surrogateescape")
            assert compiled(rf"^[\x{number:02x}]$" if name != "\n" else r"^\n\z").search(octets(name))

    def test_what_is_remembered_is_bounded(self) -> None:
        permissions = Permissions("", "", "^q")
        for number in range(DECISIONS_MAX * 2 + 10):
            assert permissions.permits("read", f"q{number}")
        assert len(permissions._decisions) <= DECISIONS_MAX
        assert not permissions.permits("read", "x")


class TestTopicPermissions:
    def test_names_are_put_in(self) -> None:
        permissions = TopicPermissions("^{username}[.]", "^{vhost}$", user="u", vhost="/")
        assert permissions.permits("write", "u.x") and not permissions.permits("write", "v.x")
        assert permissions.permits("read", "/") and not permissions.permits("read", "v")
        assert (permissions.write, permissions.read) == ("^{username}[.]", "^{vhost}$")

    def test_names_are_taken_literally(self) -> None:
        permissions = TopicPermissions("^{username}-", "^{vhost}$", user=".*", vhost="a.(b")
        assert permissions.permits("write", ".*-x") and not permissions.permits("write", "other-x")
        assert permissions.permits("read", "a.(b") and not permissions.permits("read", "ax(b")


def text_of(caught: pytest.ExceptionInfo[ChannelException]) -> tuple[int, str]:
    return caught.value.code, caught.value.text


class TestIdentity:
    def make(self) -> Identity:
        identity = Identity("u", ["monitoring"])
        identity.grant("v", Permissions("^c", "^amq.default$", "^r"))
        return identity

    def test_refusals(self) -> None:
        """Denied 403 ACCESS_REFUSED - configure access to queue 'q' in vhost 'v' refused for user 'u'."""
        identity = self.make()
        identity.check("configure", "queue", "c", "v")
        with pytest.raises(ChannelException) as caught:
            identity.check("configure", "queue", "q", "v")
        assert text_of(caught) == (403, "configure access to queue 'q' in vhost 'v' refused for user 'u'")
        with pytest.raises(ChannelException) as caught:
            identity.check("read", "exchange", "r", "other")
        assert text_of(caught) == (403, "read access to exchange 'r' in vhost 'other' refused for user 'u'")

    def test_the_default_exchange_has_a_name_here(self) -> None:
        """publish = write on the exchange ("" is amq.default)."""
        identity = self.make()
        identity.check("write", "exchange", "", "v")
        assert not identity.permits("write", "queue", "", "v")
        with pytest.raises(ChannelException) as caught:
            identity.check("read", "exchange", "", "v")
        assert text_of(caught) == (403, "read access to exchange 'amq.default' in vhost 'v' refused for user 'u'")

    def test_a_vhost_without_permissions(self) -> None:
        """refused 530 `access to vhost 'v' refused for user 'u'`."""
        identity = self.make()
        identity.check_vhost("v")
        assert identity.vhosts() == ["v"]
        with pytest.raises(ConnectionException) as caught:
            identity.check_vhost("w")
        assert (caught.value.code, caught.value.text) == (530, "access to vhost 'w' refused for user 'u'")

    def test_topics(self) -> None:
        identity = self.make()
        identity.check_topic("write", "v", "tx", "any")
        identity.grant_topic("v", "tx", TopicPermissions("^{username}", "", user="u", vhost="v"))
        identity.check_topic("write", "v", "tx", "u.x")
        identity.check_topic("write", "v", "other", "v.x")
        with pytest.raises(ChannelException) as caught:
            identity.check_topic("write", "v", "tx", "v.x")
        assert text_of(caught) == (403, "write access to topic 'v.x' in exchange 'tx' in vhost 'v' refused for user 'u'")
        assert not identity.revoke_topic("w")
        assert identity.revoke_topic("v", "tx") and identity.topic_permission("v", "tx") is None
        identity.check_topic("write", "v", "tx", "v.x")

    def test_a_change_counts_at_once(self) -> None:
        """Decisions cached, dropped when permissions change."""
        identity = self.make()
        assert not identity.permits("read", "queue", "q", "v")
        seen = identity.revision
        identity.grant("v", Permissions("", "", "q"))
        assert identity.permits("read", "queue", "q", "v") and identity.revision > seen
        seen = identity.revision
        assert identity.revoke("v") and not identity.revoke("v")
        assert not identity.permits("read", "queue", "q", "v") and identity.revision > seen

    def test_tags(self) -> None:
        assert Identity("u", ["impersonator"]).is_impersonator and not self.make().is_impersonator
        assert self.make().tags == {"monitoring"}
