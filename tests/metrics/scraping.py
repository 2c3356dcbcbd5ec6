"""Scrapes, read with Prometheus's own parser, and with a few lines where the text itself matters."""

import gzip
import http.client
import re
from collections import defaultdict
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
CONTENT_TYPE = "text/plain; version=0.0.4"


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return (gzip.decompress(self.body) if self.headers.get("Content-Encoding") == "gzip" else self.body).decode()


def get(port: int, path: str, method: str = "GET", **headers: str) -> Answer:
    """One request on loopback; `accept_encoding` is sent as Accept-Encoding."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


class Samples:
    """The samples of one answer: `samples["rabbitmq_queues"]`, `samples.of("rabbitmq_queue_messages", queue="q")`."""

    def __init__(self, text: str) -> None:
        self.by_name: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = frozenset(sample.labels.items())
                assert labels not in self.by_name[sample.name], f"{sample.name}{sample.labels} is told twice"
                self.by_name[sample.name][labels] = sample.value

    def __getitem__(self, name: str) -> float:
        """The only sample of that name."""
        (value,) = self.by_name[name].values()
        return value

    def __contains__(self, name: str) -> bool:
        return bool(self.by_name.get(name))

    def of(self, name: str, **labels: str) -> float:
        """The only sample of that name that has these labels, and maybe others."""
        found = [value for has, value in self.by_name[name].items() if labels.items() <= dict(has).items()]
        assert len(found) == 1, f"{len(found)} samples {name}{labels}: {self.by_name[name]}"
        return found[0]

    def labels(self, name: str) -> list[dict[str, str]]:
        """The labels of each sample of that name."""
        return [dict(has) for has in self.by_name[name]]


def scrape(port: int, path: str = "/metrics") -> Samples:
    """An answer that must be one."""
    answer = get(port, path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, CONTENT_TYPE)
    return Samples(answer.text)


class Shape(NamedTuple):
    """A family as it is told: its type, and the names of the labels that its samples have."""

    kind: str
    labels: list[list[str]]


def shapes(text: str) -> dict[str, Shape]:
    """The families of an answer, without those of Erlang's machinery. Each must be told once, with type and help, then its samples."""
    kinds: dict[str, str] = {}
    labels: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
    helped: set[str] = set()
    name = ""
    for line in text.splitlines():
        words = line.split(" ", 3)
        if words[:2] == ["#", "TYPE"]:
            name = words[2]
            assert name not in kinds, f"{name} is told twice"
            kinds[name] = words[3]
        elif words[:2] == ["#", "HELP"]:
            assert words[2] == name and words[3]
            helped.add(name)
        elif line:
            found = re.match(r"[a-z0-9_]+", line)
            assert found and found[0] in (name, f"{name}_count", f"{name}_sum", f"{name}_bucket"), f"{line} among those of {name}"
            labels[name].add(tuple(sorted(re.findall(r'[{,]([a-z_]+)="', line))))
    assert helped == set(kinds)
    return {name: Shape(kind, sorted(map(list, labels[name]))) for name, kind in kinds.items() if not name.startswith("erlang_")}
