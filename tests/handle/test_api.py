"""Requests to the broker: connections that are kept, closed, shared by threads, inherited."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from leveret import Broker, BrokerGone, Refused
from leveret.api import IDLE_MAX, Api


def test_answers_and_refusals(server: Broker) -> None:
    assert server.api.ask("GET", "")["seed"] == 7
    with pytest.raises(Refused, match=r"GET /api/leveret/testing/nothing: 404, Not Found") as refused:
        server.api.ask("GET", "/nothing")
    assert refused.value.status == 404
    with pytest.raises(Refused, match=r"401, this needs the header"):
        Api(server.http_url, "wrong").ask("GET", "")
    with pytest.raises(ValueError, match=r"'localhost:1' is no URL of a broker's HTTP API"):
        Api("localhost:1", "")


def test_a_broker_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(BrokerGone, match=rf"the broker at http://127.0.0.1:{port} doesn't answer: .*refused"):
        Api(f"http://127.0.0.1:{port}", "").ask("GET", "")


def test_connections_are_kept_and_no_more_than_a_few(server: Broker) -> None:
    api = Api(server.http_url, server.api._headers["Authorization"].split()[1])
    api.ask("GET", "")
    kept = api._idle[0].sock
    api.ask("GET", "")
    assert [connection.sock for connection in api._idle] == [kept]
    barrier = threading.Barrier(IDLE_MAX + 3)
    answers: list[int] = []

    def ask() -> None:
        barrier.wait()
        answers.extend(api.ask("GET", "")["seed"] for _ in range(10))

    threads = [threading.Thread(target=ask) for _ in range(barrier.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [7] * 10 * barrier.parties
    assert 1 <= len(api._idle) <= IDLE_MAX
    api.close()
    assert not api._idle


@contextmanager
def one_answer_each() -> Iterator[tuple[str, list[int]]]:
    """A server that closes each connection after one answer without having said that it would; and how many came."""
    came: list[int] = []

    def serve() -> None:
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            came.append(1)
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", came
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_connection_that_was_closed_meanwhile_is_opened_again() -> None:
    with one_answer_each() as (url, came):
        api = Api(url, "")
        for _ in range(3):
            assert api.ask("POST", "", {"a": 1}) == {}
        assert len(came) == 3
        api.close()


def test_a_prefix_of_paths() -> None:
    with (
        Broker(config={"management.path_prefix": "/rabbit"}) as broker,
        Broker.connect(f"{broker.http_url}/rabbit/", token(broker)) as again,
    ):
        assert again.seed == broker.seed


def token(broker: Broker) -> str:
    return broker.api._headers["Authorization"].removeprefix("Bearer ")
