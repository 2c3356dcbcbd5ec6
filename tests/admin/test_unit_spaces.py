"""`+` for a space in a path, as several tools write it."""

from tests.admin.served import Served


def test_a_plus_is_a_space_where_nothing_has_the_plus(shared: Served, vhost: str) -> None:
    with shared.api() as api:
        for name in ("my%20queue", "your+queue", "your%20queue"):
            assert api.do("PUT", f"/api/queues/{vhost}/{name}") == 201
        assert sorted(each["name"] for each in api.get(f"/api/queues/{vhost}")) == ["my queue", "your queue", "your+queue"]
        assert api.get(f"/api/queues/{vhost}/my+queue")["name"] == "my queue"
        assert api.get(f"/api/queues/{vhost}/your+queue")["name"] == "your+queue"
        assert api.do("GET", f"/api/queues/{vhost}/her+queue") == 404
        assert api.do("DELETE", f"/api/queues/{vhost}/my+queue") == 204
        assert api.do("PUT", "/api/vhosts/two%20words") == 201
        assert api.get("/api/vhosts/two+words")["name"] == "two words"
        assert api.do("PUT", "/api/queues/two+words/q") == 404
        assert api.do("DELETE", "/api/vhosts/two+words") == 204
