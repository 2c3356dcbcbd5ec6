"""The overview page in a real browser."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pika
import pytest

from tests.admin.browser import DARK, PREFIX, Browser, browser, proxy
from tests.admin.client import Http
from tests.admin.served import Served
from tests.runtime.process import soon

pytestmark = pytest.mark.oracle

NASTY = "<script>document.title = 'gone'</script><b>bold"
NAMES = "#queues td:first-child"
TOTALS = "#totals dd"
READY = f"{TOTALS}:nth-of-type(1)"


@pytest.fixture(scope="module")
def page(served: Served) -> Iterator[Browser]:
    """guest's, with queues `orders` (20 ready), `audit` (300), `orders.dlq` (2), `full` (95 of 100) and one with a nasty name."""
    with served.api() as api, served.channel("/") as channel:
        for name in ("orders", "audit", "orders.dlq", NASTY):
            channel.queue_declare(name, durable=True)
        channel.queue_declare("full", arguments={"x-max-length": 100})
        channel.confirm_delivery()
        for name, count in (("orders", 20), ("audit", 300), ("orders.dlq", 2), ("full", 95)):
            for _ in range(count):
                channel.basic_publish("", name, b"x")
        assert api.get("/api/overview")["queue_totals"]["messages"] == 417
    with browser() as opened:
        opened.open(address(served))
        soon(lambda: opened.texts("#totals dd")[:1] == ["417"], what="the page")
        yield opened


@pytest.fixture(autouse=True)
def nothing_on_the_console(page: Browser) -> Iterator[None]:
    """After each test. Where the broker was away on purpose, the test has asked for what the console was told."""
    yield
    assert page.errors() == []


def address(served: Served, user: str = "guest", prefix: str = "") -> str:
    return f"http://{user}:{user}@{served.host}:{served.http_port}{prefix}/"


def filter_by(page: Browser, text: str, names: list[str]) -> None:
    page.type("#filter", text)
    page.run("document.querySelector('#filter').dispatchEvent(new Event('input'))")
    soon(lambda: page.texts(NAMES) == names, what=f"rows for {text!r}")


def test_it_shows_what_there_is(page: Browser, served: Served) -> None:
    assert page.driver.title.startswith("Leveret")
    assert "speaks RabbitMQ 3.13.7" in page.text("#identity")
    assert page.texts(NAMES)[:4] == ["audit", "full", "orders", "orders.dlq"], "the fullest first"
    assert [row.split("\n") for row in page.texts("#totals div")][5] == ["Queues", "5"]
    assert f"amqp on {served.host}, port {served.port}" in page.texts("#listeners li")
    assert page.text("#resources").startswith("Memory")


def test_names_are_shown_as_they_are(page: Browser) -> None:
    filter_by(page, "bold", [NASTY])
    assert page.run("return document.querySelectorAll('#queues td b, #queues td script').length") == 0
    filter_by(page, "nothing is called so", ["none"])
    filter_by(page, "", ["audit", "full", "orders", "orders.dlq", NASTY])


def test_what_needs_attention(page: Browser) -> None:
    assert page.texts("#attention li") == [
        "full in /: full to 95% of its limit",
        "audit in /: 300 ready and no consumer",
        "orders in /: 20 ready and no consumer",
        "orders.dlq in /: 2 dead letters",
    ]
    page.click("#attention li:nth-child(2) button")
    soon(lambda: page.texts(NAMES) == ["audit"], what="the filter")
    filter_by(page, "", ["audit", "full", "orders", "orders.dlq", NASTY])


def test_totals_change_with_what_happens(page: Browser, served: Served) -> None:
    with served.channel("/") as channel:
        for _ in range(5):
            channel.basic_publish("", "orders", b"x")
    soon(lambda: page.texts(TOTALS)[0] == "422", what="five more")
    with served.channel("/") as channel:
        for _ in range(5):
            channel.basic_get("orders", auto_ack=True)
    soon(lambda: page.texts(TOTALS)[0] == "417", what="five fewer")


def test_columns_sort_by_a_click_or_a_key(page: Browser) -> None:
    by_name = [NASTY, "audit", "full", "orders", "orders.dlq"]
    page.click("#queues th:nth-child(1) button")
    soon(lambda: page.texts(NAMES) == by_name, what="by name")
    assert page.run("return document.querySelector('#queues th').getAttribute('aria-sort')") == "ascending"
    page.driver.switch_to.active_element.send_keys("\n")
    soon(lambda: page.texts(NAMES) == by_name[::-1], what="the other way round")
    page.click("#queues th:nth-child(4) button")
    soon(lambda: page.texts(NAMES)[0] == "audit", what="by what is ready")


def test_connections_and_an_alarm(page: Browser, served: Served, api: Http) -> None:
    parameters = pika.ConnectionParameters(served.host, served.port, client_properties={"connection_name": "the shop"})
    with pika.BlockingConnection(parameters) as connection:
        soon(lambda: "the shop" in page.text("#connections"), what="the connection")
        limit = {"absolute": 1}
        try:
            assert api.do("PUT", "/api/leveret/ctl/memory-high-watermark", limit) == 204
            connection.channel().basic_publish("", "nowhere", b"x")
            lines = ["Memory alarm: publishers are blocked", "Blocked connections: the shop"]
            soon(lambda: page.texts("#attention li")[:2] == lines, what="the alarm")
        finally:
            assert api.do("PUT", "/api/leveret/ctl/memory-high-watermark", {"relative": 0.4}) == 204
    soon(lambda: page.texts("#attention li")[0].startswith("full"), what="the alarm's end")


def test_nothing_is_loaded_from_elsewhere_or_run_without_leave(page: Browser, served: Served) -> None:
    assert {urlsplit(each).netloc.rpartition("@")[2] for each in page.requests()} <= {f"{served.host}:{served.http_port}"}
    page.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title = 1\">')")
    complaints = soon(page.errors, what="a complaint about the script")
    assert any("Content Security Policy" in each for each in complaints), complaints
    page.run("document.querySelector('img').remove()")
    soon(lambda: page.errors() == [] and page.driver.title != "1", what="quiet")


def test_the_page_for_who_may_see_little(page: Browser, served: Served) -> None:
    served.add_vhost("shop")
    with served.user("mona", "management", shop=".*") as mona, browser(DARK, "--window-size=500,900") as hers:
        assert mona.do("PUT", "/api/queues/shop/baskets", {}) == 201
        hers.open(address(served, "mona"))
        soon(lambda: hers.texts(NAMES) == ["baskets"], what="her queue")
        shown = "return [...document.querySelectorAll('#node, #for-monitoring, #for-administrators')].map((each) => each.hidden)"
        assert hers.run(shown) == [True, True, True]
        assert page.run(shown) == [False, False, False]
        assert hers.run("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 21)", "dark"
        assert hers.run("return document.documentElement.scrollWidth <= innerWidth"), "tables scroll, the page doesn't"
        assert hers.errors() == []


def test_it_says_when_the_broker_is_gone_and_goes_on_when_it_is_back(page: Browser, tmp_path: Path) -> None:
    with Served(data_dir=tmp_path) as broker, browser() as watching:
        broker.arguments = ("--http-port", str(broker.http_port))
        watching.open(address(broker))
        soon(lambda: watching.text("#connection").startswith("As of"), what="the page")
        broker.stop()
        soon(lambda: watching.text("#connection") == "The broker can't be reached; trying again", what="a word")
        assert all("ERR_CONNECTION" in each for each in watching.errors())
        broker.start()
        soon(lambda: watching.text("#connection").startswith("As of"), what="the page again")


def test_it_works_behind_a_path(page: Browser, tmp_path: Path) -> None:
    file = tmp_path / "leveret.conf"
    file.write_text("management.path_prefix = /mq\n")
    with Served("--config", str(file)) as broker, browser() as inside:
        inside.open(address(broker, prefix="/mq").removesuffix("/"))
        soon(lambda: inside.text("#connection").startswith("As of"), what="the page")
        assert inside.run("return location.pathname") == "/mq/"
        inside.click("footer a")
        assert len(inside.texts("tr")) > 100, "the API's page"
        assert inside.errors() == []


def test_it_works_behind_a_proxy_that_takes_a_part_of_the_path_away(page: Browser, served: Served) -> None:
    with proxy(served.host, served.http_port) as port, browser() as outside:
        outside.open(f"http://guest:guest@{served.host}:{port}{PREFIX}/")
        soon(lambda: outside.text("#connection").startswith("As of"), what="the page")
        outside.click("footer a")
        assert len(outside.texts("tr")) > 100, "the API's page"
        assert outside.errors() == []
