"""The wire: slow, large and ambiguous requests are refused in the engine's envelope, and the connection is closed."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from engine.main import System
from engine.testing.harness import Live, served
from engine.wire import LINGER_SECONDS, MAX_URL, WireLimits

HEADER, BODY = 0.5, 0.6
LIMITS = {"header_timeout": HEADER, "body_timeout": BODY, "max_header_bytes": 4096, "max_headers": 20}
ROLES = "/manager/idam/roles"


@pytest.fixture(scope="module")
def guarded(live: Live) -> Iterator[Live]:
    """One more server over the same databases, of little patience."""
    system = System(live.system.settings.model_copy(update=LIMITS))
    system.server = live.system.server
    system.locate()
    with served(system) as running:
        yield running


class Answer(NamedTuple):
    """What came back: status (0 = nothing did), headers, body, and what followed it."""

    status: int
    headers: dict[str, str]
    body: bytes
    rest: bytes = b""

    @property
    def code(self) -> str:
        """The code of the error in the envelope."""
        said = json.loads(self.body)
        assert said["success"] is False and said["data"] is None
        assert said["error"]["request_id"] == self.headers["x-request-id"]
        return str(said["error"]["code"])


class Line:
    """A connection, spoken over by hand."""

    def __init__(self, live: Live) -> None:
        self.socket = socket.create_connection(("127.0.0.1", int(live.url.rpartition(":")[2])), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.came = b""

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: Any) -> None:
        self.socket.close()

    def say(self, *parts: bytes, pause: float = 0.0) -> bool:
        """Send the parts; False when the other side did not listen to the end."""
        try:
            for part in parts:
                self.socket.sendall(part)
                time.sleep(pause)
        except OSError:
            return False
        return True

    def hear(self) -> Answer:
        """The next answer."""
        while b"\r\n\r\n" not in self.came:
            if not (more := self._more()):
                return Answer(0, {}, self.came)
            self.came += more
        head, _, rest = self.came.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        while len(rest) < length and (more := self._more()):
            rest += more
        self.came = rest[length:]
        return Answer(int(first.split()[1]), headers, rest[:length])

    def hear_all(self) -> Answer:
        """The next answer, after which the connection is closed; what came after it is `rest`."""
        answer = self.hear()
        while more := self._more():
            self.came += more
        return answer._replace(rest=self.came)

    def _more(self) -> bytes:
        try:
            return self.socket.recv(65536)
        except ConnectionResetError:
            return b""


def ask(live: Live, *parts: bytes, pause: float = 0.0) -> Answer:
    """One request, refused; the connection is closed after the answer, and nothing else came."""
    with Line(live) as line:
        line.say(*parts, pause=pause)
        answer = line.hear_all()
    assert answer.rest == b""
    if answer.status:
        assert answer.headers["connection"] == "close" and answer.headers["content-type"] == "application/json"
    return answer


def posting(live: Live, path: str = ROLES) -> bytes:
    """The head of a write by the administrator, up to what says how long its body is."""
    token = live.token("admin@example.com").encode()
    return b"POST " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + b"\r\n"


GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /health/live HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
AMBIGUOUS = {
    "chunked and a length": POST + CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "a length and chunked": POST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "the same length twice": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": POST + b"Content-Length: +3\r\n\r\nabc",
    "no length": POST + b"Content-Length: \r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "another coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, then another": POST + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": POST.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n0\r\n\r\n",
    "coding behind a tab": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "bare LF in a chunk": POST + CHUNKED + b"\r\n3\nabc\r\n0\r\n\r\n",
    "bare LF after an extension": POST + CHUNKED + b"\r\n3;a\nabc\r\n0\r\n\r\n",
    "a negative chunk": POST + CHUNKED + b"\r\n-3\r\nabc\r\n0\r\n\r\n",
    "a prefixed chunk": POST + CHUNKED + b"\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "bare LF everywhere": b"GET /health/live HTTP/1.1\nHost: x\n\n",
    "bare LF after a header": GET.replace(b"x\r\n", b"x\n") + b"A: b\r\n\r\n",
    "bare CR": GET + b"A: b\rC: d\r\n\r\n",
    "a folded header": GET + b"A: b\r\n c\r\n\r\n",
    "a folded first header": b"GET /health/live HTTP/1.1\r\n A: b\r\nHost: x\r\n\r\n",
    "a space before the colon": GET + b"A : b\r\n\r\n",
    "NUL in a header": GET + b"A: b\x00c\r\n\r\n",
    "no host": b"GET /health/live HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: y\r\n\r\n",
    "HTTP/2 by name": GET.replace(b"1.1", b"2.0") + b"\r\n",
    "HTTP/2 in fact": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /health/live\r\n\r\n",
    "an unknown method": GET.replace(b"GET", b"FETCH") + b"\r\n",
    "a tunnel": b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path that is not ASCII": GET.replace(b"live", "lïve".encode()) + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("shape", AMBIGUOUS)
def test_what_two_servers_could_read_differently_is_refused(guarded: Live, shape: str) -> None:
    answer = ask(guarded, AMBIGUOUS[shape])
    assert (answer.status, answer.code) == (400, "bad_request")


@pytest.mark.parametrize("shape", ["chunked and a length", "another coding", "two codings", "two hosts"])
def test_a_refused_request_has_no_effect(guarded: Live, shape: str) -> None:
    """Whatever its body says."""
    slug, token = f"w{uuid4().hex[:12]}", guarded.token("admin@example.com")
    body = json.dumps({"code": slug, "name": slug}).encode()
    lines = AMBIGUOUS[shape].split(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    rest = [b"Authorization: Bearer " + token.encode(), b"Content-Type: application/json", b"", b""]
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    answer = ask(guarded, b"\r\n".join([b"POST /manager/idam/roles HTTP/1.1", *lines, *rest]) + chunks)
    assert answer.status == 400
    found = guarded.client("manager").get("/manager/idam/roles", params={"filter[code]": slug}).json()
    assert found["data"]["total"] == 0


# -- size


@pytest.mark.parametrize(
    "head",
    [
        GET + b"A: " + b"b" * 5000 + b"\r\n\r\n",
        GET + b"".join(b"A%d: %b\r\n" % (i, b"b" * 500) for i in range(10)) + b"\r\n",
        GET + b"".join(b"A%d: b\r\n" % i for i in range(20)) + b"\r\n",
        GET + b"A" * 5000 + b": b\r\n\r\n",
    ],
    ids=["one", "together", "many", "a name"],
)
def test_headers_are_bounded(guarded: Live, head: bytes) -> None:
    answer = ask(guarded, head)
    assert (answer.status, answer.code) == (431, "headers_too_large")


@pytest.mark.parametrize("begin", [b"A: ", b"A", CHUNKED + b"\r\n3;", CHUNKED + b"\r\n0\r\nT: "])
def test_what_never_ends_is_not_kept(guarded: Live, begin: bytes) -> None:
    """A header, its name, an extension of a chunk, and a trailer, of which no end is seen."""
    answer = ask(guarded, posting(guarded) + begin, *(b"x" * 1000 for _ in range(8)), pause=0.01)
    assert (answer.status, answer.code) == (431, "headers_too_large")


@pytest.mark.parametrize("length", [MAX_URL + 1, MAX_URL + 2, 70_000, 400_000])
def test_a_url_that_is_too_long_is_told_so_in_the_envelope(guarded: Live, length: int) -> None:
    start = f"GET {ROLES}?q=".encode()
    url = b"a" * (length - len(start) + len(b"GET "))
    answer = ask(guarded, start + url + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (answer.status, answer.code) == (414, "url_too_long")


def test_a_url_of_the_greatest_length_is_read(guarded: Live) -> None:
    token = guarded.token("admin@example.com").encode()
    start = f"GET {ROLES}?q=".encode()
    url = b"a" * (MAX_URL - len(start) + len(b"GET "))
    with Line(guarded) as line:
        line.say(start + url + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + b"\r\n\r\n")
        answer = line.hear()
    assert answer.status in (400, 422) and json.loads(answer.body)["error"]["details"][0]["field"] == "q"


# -- time


def test_a_head_that_drips_is_cut_off(guarded: Live) -> None:
    began = time.monotonic()
    answer = ask(guarded, *(bytes([one]) for one in GET[:30]), pause=0.05)
    assert (answer.status, answer.code) == (408, "request_timeout")
    assert HEADER <= time.monotonic() - began < HEADER + 6


@pytest.mark.parametrize("parts", [(), tuple(b"\r\n" for _ in range(30))], ids=["nothing", "line ends"])
def test_who_begins_no_request_is_not_waited_for(guarded: Live, parts: tuple[bytes, ...]) -> None:
    began = time.monotonic()
    assert ask(guarded, *parts, pause=0.05).status == 0
    assert HEADER * 0.9 <= time.monotonic() - began < HEADER + 6 + 0.05 * len(parts)


@pytest.mark.parametrize("framing", [b"Content-Length: 500\r\n\r\n", CHUNKED + b"\r\n1f4\r\n"])
def test_a_body_that_drips_is_cut_off(guarded: Live, framing: bytes) -> None:
    head, began = posting(guarded) + framing, time.monotonic()
    answer = ask(guarded, head, *(b" " for _ in range(30)), pause=0.05)
    assert (answer.status, answer.code) == (408, "request_timeout")
    assert BODY <= time.monotonic() - began < BODY + 6


def test_a_body_that_keeps_coming_may_take_longer(guarded: Live) -> None:
    with Line(guarded) as line:
        line.say(posting(guarded) + b"Content-Length: 20000\r\n\r\n")
        assert line.say(*(b" " * 1000 for _ in range(20)), pause=3 * BODY / 20)
        assert line.hear().status == 400  # a body of spaces


def test_the_rest_of_an_answered_request_is_not_waited_for(guarded: Live) -> None:
    """Refused before its body was read: the answer comes at once, the connection ends soon after."""
    began = time.monotonic()
    with Line(guarded) as line:
        line.say(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + b" " * 100)
        answer = line.hear()
        assert answer.status == 404 and time.monotonic() - began < LINGER_SECONDS
        line.say(*(b" " for _ in range(10)), pause=0.1)
        assert line.hear().status == 0
    assert LINGER_SECONDS * 0.9 <= time.monotonic() - began < LINGER_SECONDS + 6


def test_a_flood_after_the_answer_is_cut_off(guarded: Live) -> None:
    with Line(guarded) as line:
        line.say(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n")
        assert line.hear().status == 404
        sent = 0
        while line.say(b" " * 65536) and sent < 1000:
            sent += 1
        assert sent < 500


# -- what goes on


def test_a_connection_is_used_again_after_a_pause(guarded: Live) -> None:
    """Also when its request came in pieces, and when an early answer left a body unread."""
    with Line(guarded) as line:
        for parts in ((GET + b"\r\n",), (GET[:9], GET[9:], b"\r\n")):
            line.say(*parts, pause=0.02)
            assert line.hear().status == 200
            time.sleep(HEADER + 0.2)
        line.say(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n", b"abcd", pause=0.1)
        assert line.hear().status == 404
        line.say(GET + b"\r\n")
        assert line.hear().status == 200


def test_answers_on_their_way_come_before_a_refusal(guarded: Live) -> None:
    """The refusal of what follows is said by the end of the connection: never as the answer to another request."""
    with Line(guarded) as line:
        line.say(GET + b"\r\n" + GET + b"\r\n" + b"NONSENSE\r\n\r\n")
        answers = [line.hear(), line.hear_all()]
    assert [answer.status for answer in answers] == [200, 200] and answers[1].rest == b""
    assert "connection" not in answers[0].headers and answers[1].headers["connection"] == "close"


def test_a_trailer_says_nothing_any_more(guarded: Live) -> None:
    """A header after the body is no header."""
    with Line(guarded) as line:
        line.say(posting(guarded, f"{ROLES}/query") + CHUNKED, b"\r\n2\r\n{}\r\n0\r\nX-Request-Id: smuggled\r\n\r\n")
        answer = line.hear()
    assert answer.status == 200 and answer.headers["x-request-id"] != "smuggled"


def test_no_upgrade_is_followed(guarded: Live) -> None:
    for protocol in (b"websocket", b"h2c"):
        with Line(guarded) as line:
            line.say(GET + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n")
            answer = line.hear_all()
        assert answer.status == 200 and answer.rest == b""


def test_the_limits_are_the_settings_own(guarded: Live) -> None:
    settings = guarded.system.settings
    assert WireLimits.of(settings) == WireLimits(**LIMITS)
    assert WireLimits() == WireLimits.of(type(settings).model_construct())
