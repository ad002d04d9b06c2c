"""The documentation pages in a real browser: they show the operations, and ask nobody but the server."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from engine.testing.harness import Live

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
OPTIONS = (
    *(
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ),
    *("--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
    # whatever is not this server finds a dead proxy
    *("--proxy-server=http://127.0.0.1:9", "--proxy-bypass-list=127.0.0.1"),
)
# chromium reads DevTools messages from descriptor 3 and writes them to 4
LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
SECONDS = 60.0


class Page:
    """One tab: what it asked for, what it complained about."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Network", "Log", "Runtime", "Page"):
            self.call(f"{domain}.enable")
        self.call("Page.bringToFront")
        self.call("Page.navigate", url=url)

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        """A DevTools command for this tab."""
        return self.browser.call(method, self.session, **given)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, expression: str) -> Any:
        """The value of an expression as soon as it is true; while the page is loading it may throw."""
        deadline = time.monotonic() + SECONDS
        while not (value := self.evaluate(f"(() => {{ try {{ return {expression} }} catch {{ return false }} }})()")):
            assert time.monotonic() < deadline, f"{expression} never became true; the page said {self.complaints()}"
            time.sleep(0.1)
        return value

    def events(self, method: str) -> list[dict[str, Any]]:
        """What happened in this tab so far."""
        return [
            e["params"] for e in self.browser.events if e.get("sessionId") == self.session and e["method"] == method
        ]

    def asked(self) -> set[str]:
        """Hosts and ports that were asked for something."""
        urls = [urlsplit(event["request"]["url"]) for event in self.events("Network.requestWillBeSent")]
        return {url.netloc for url in urls if url.scheme != "data"}

    def complaints(self) -> list[str]:
        """Errors in the console: missing files, refused requests, exceptions."""
        logged = [e["entry"]["text"] for e in self.events("Log.entryAdded") if e["entry"]["level"] == "error"]
        thrown = [e["exceptionDetails"]["text"] for e in self.events("Runtime.exceptionThrown")]
        said = [str(e["args"]) for e in self.events("Runtime.consoleAPICalled") if e["type"] == "error"]
        failed = [e["errorText"] for e in self.events("Network.loadingFailed") if not e.get("canceled")]
        return [*logged, *thrown, *said, *failed]


class Browser:
    """Headless Chromium, spoken to over a pair of pipes."""

    def __init__(self, profile: Path) -> None:
        theirs, self.writes = os.pipe()
        self.reads, ours = os.pipe()
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs, ours)]
        command = [sys.executable, "-c", LAUNCH, *map(str, high), CHROMIUM, *OPTIONS, f"--user-data-dir={profile}"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, pass_fds=high, stdin=quiet, stdout=quiet, stderr=quiet)
        for descriptor in (theirs, ours, *high):
            os.close(descriptor)
        self.number, self.rest = 0, b""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **given: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": given, **({"sessionId": session} if session else {})}
        os.write(self.writes, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def receive(self) -> dict[str, Any]:
        """The next message."""
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.reads], [], [], SECONDS)
            part = os.read(self.reads, 65_536) if ready else b""
            assert part, "the browser fell silent"
            self.rest += part
        message, _, self.rest = self.rest.partition(b"\0")
        return dict(json.loads(message))

    def close(self) -> None:
        """End the browser that was started here."""
        try:
            self.call("Browser.close")
            self.process.wait(timeout=10)
        except (AssertionError, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.writes)
        os.close(self.reads)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("no chromium is installed")
    started = Browser(tmp_path_factory.mktemp("chromium"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def swagger(live: Live, browser: Browser) -> Page:
    page = Page(browser, f"{live.url}/docs")
    page.wait("document.querySelectorAll('.opblock-tag').length > 5")
    return page


def test_swagger_ui_shows_the_operations_and_asks_nobody_else(live: Live, swagger: Page) -> None:
    swagger.evaluate("document.querySelector('.opblock-tag[data-tag=\"manager/cnfg\"]').click()")
    swagger.wait("document.querySelectorAll('.opblock').length >= 7")
    swagger.evaluate("document.querySelector('[id$=number_sequences_create] button').click()")
    swagger.wait("document.documentElement.textContent.includes('next_value')")
    assert swagger.complaints() == []
    assert swagger.asked() == {urlsplit(live.url).netloc}


def test_swagger_ui_signs_in_the_people_of_a_tenant(swagger: Page) -> None:
    """`tenant/address` as user name becomes two fields of the form."""
    form = "grant_type=password&username=first%2Fowner%40first.example&password=x"
    sent = swagger.evaluate(f"ui.getConfigs().requestInterceptor({{url: '/auth/token', body: '{form}'}}).body")
    assert sent == "grant_type=password&username=owner%40first.example&password=x&tenant=first"
    swagger.evaluate("document.querySelector('button.authorize').click()")
    swagger.wait("document.querySelector('#oauth_username') !== null")


def test_scalar_shows_the_operations_and_asks_nobody_else(live: Live, browser: Browser) -> None:
    page = Page(browser, f"{live.url}/scalar")
    page.wait("document.documentElement.textContent.includes('Identity and access management')")
    page.wait("performance.getEntriesByType('resource').some(entry => entry.name.endsWith('/openapi.json'))")
    time.sleep(1)  # what a page asks for late must not be missed
    assert page.evaluate("document.fonts.size") == page.evaluate(
        "[...document.fonts].filter(f => f.status !== 'error').length"
    )
    assert page.complaints() == []
    assert page.asked() == {urlsplit(live.url).netloc}


def test_a_request_to_another_host_would_be_noticed(live: Live, browser: Browser) -> None:
    """The checks above can fail: the policy stops a foreign request, and the page says so."""
    page = Page(browser, f"{live.url}/docs/start-swagger.js")
    page.wait("document.body.textContent.includes('SwaggerUIBundle')")
    page.evaluate("fetch('http://192.0.2.1/x').catch(() => { window.stopped = true })")
    page.wait("window.stopped === true")
    assert any("Content Security Policy" in text for text in page.complaints())


@pytest.mark.parametrize("path", ["/docs", "/scalar"])
def test_pages_carry_a_strict_policy(live: Live, path: str) -> None:
    answer = httpx.get(live.url + path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "script-src 'self';" in policy
    assert "http" not in policy
    assert "<script>" not in answer.text


@pytest.mark.parametrize("name", ["swagger.js", "swagger.css", "scalar.js"])
def test_assets_are_revalidated(live: Live, name: str) -> None:
    answer = httpx.get(f"{live.url}/docs/{name}")
    assert answer.status_code == 200
    assert len(answer.content) > 100_000
    again = httpx.get(f"{live.url}/docs/{name}", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_other_files_of_the_package_are_not_served(live: Live) -> None:
    for name in ("templates.py", "redoc.js", "../docs.py", "swagger_bundle.js"):
        assert httpx.get(f"{live.url}/docs/{name}").status_code == 404


def test_offapi_is_not_imported(live: Live) -> None:
    assert httpx.get(f"{live.url}/docs").status_code == 200
    assert "offapi" not in sys.modules
