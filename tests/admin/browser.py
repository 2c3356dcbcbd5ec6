"""Debian's Chromium without a screen, driven over its chromedriver."""

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--lang=en-US", "--window-size=1250,1000",
)  # fmt: skip
"""None of these lets it look for anything outside."""
DARK = "--blink-settings=preferredColorScheme=0"
PREFIX = "/tools/mq"


class _Proxy(BaseHTTPRequestHandler):
    """Takes PREFIX away, and asks the broker for the rest."""

    upstream: tuple[str, int]

    def do_GET(self) -> None:
        connection = HTTPConnection(*self.upstream)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        connection.request("GET", self.path.removeprefix(PREFIX) or "/", headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        connection.close()

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def proxy(host: str, port: int) -> Iterator[int]:
    """The port of a proxy on this machine, which has the broker under PREFIX."""
    handler = type("Proxy", (_Proxy,), {"upstream": (host, port)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class Browser:
    """One window, and the page in it."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def text(self, css: str) -> str:
        """What is seen of the first such element."""
        text: str = self.driver.find_element(By.CSS_SELECTOR, css).text
        return text

    def texts(self, css: str) -> list[str]:
        """The same of all."""
        script = "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText)"
        texts: list[str] = self.driver.execute_script(script, css)
        return texts

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def click(self, css: str) -> None:
        self.driver.find_element(By.CSS_SELECTOR, css).click()

    def type(self, css: str, text: str) -> None:
        """In place of what is there."""
        field = self.driver.find_element(By.CSS_SELECTOR, css)
        field.clear()
        field.send_keys(text)

    def errors(self) -> list[str]:
        """What the console has been told since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses of everything that the page has loaded."""
        script = "return performance.getEntriesByType('resource').map((each) => each.name)"
        addresses: list[str] = self.driver.execute_script(script)
        return addresses


@contextlib.contextmanager
def browser(*flags: str) -> Iterator[Browser]:
    """With `flags` beside FLAGS."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert chromium is not None, "apt-get install chromium"
    assert driver is not None, "apt-get install chromium-driver"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, *flags, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        chrome = Chrome(options=options, service=Service(driver))
        try:
            yield Browser(chrome)
        finally:
            chrome.quit()
