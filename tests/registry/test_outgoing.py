"""Requests to typed-in addresses, over real TLS to a server on this machine."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from registry.manager.outgoing import Place, is_public, post, resolve

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def certificate(folder: Path, host: str) -> Path:
    """A file with a key and a certificate that it signs itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / f"{host}.pem"
    path.write_bytes(text + made.public_bytes(serialization.Encoding.PEM))
    return path


class Receiver:
    """Takes one request and answers with what it was given; `seen` is the request."""

    def __init__(self, pem: Path, answer: bytes) -> None:
        self.seen = b""
        self.answer = answer
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self.listener = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)
        self.thread = threading.Thread(target=self._take, daemon=True)
        self.thread.start()

    @property
    def place(self) -> Place:
        """Where it is, under the name hook.example."""
        return Place("hook.example", self.listener.getsockname()[1], "/in?a=b", ("127.0.0.1",))

    def _take(self) -> None:
        try:
            peer, _ = self.listener.accept()
        except OSError:
            return
        with peer, suppress(OSError):  # of who went away
            while b"end" not in self.seen and (part := peer.recv(4096)):
                self.seen += part
            if self.answer:
                peer.sendall(self.answer)
            else:
                time.sleep(1.0)


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], Receiver]]:
    """Makes receivers whose certificate is trusted."""
    pem = certificate(tmp_path, "hook.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    made: list[Receiver] = []

    def make(answer: bytes) -> Receiver:
        made.append(Receiver(pem, answer))
        return made[-1]

    yield make
    for one in made:
        one.listener.close()


async def test_a_request_goes_to_the_checked_address(receiver: Callable[[bytes], Receiver]) -> None:
    server = receiver(b"HTTP/1.1 204 No Content\r\n\r\n")
    answer = await post(server.place, b"the end", {"Authorization": "Bearer x"})
    server.thread.join(5)
    head, _, body = server.seen.partition(b"\r\n\r\n")
    assert (answer.status, body) == (204, b"the end")
    assert head.startswith(b"POST /in?a=b HTTP/1.1\r\nHost: hook.example:") and b"Authorization: Bearer x" in head


async def test_an_address_that_does_not_answer_is_passed_over(receiver: Callable[[bytes], Receiver]) -> None:
    server = receiver(b"HTTP/1.1 200 OK\r\n\r\n")
    place = server.place._replace(addresses=("127.0.0.2", "127.0.0.1"))
    assert (await post(place, b"end", {})).status == 200


async def test_a_redirection_is_an_answer_like_any_other(receiver: Callable[[bytes], Receiver]) -> None:
    server = receiver(b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/\r\n\r\nthere")
    answer = await post(server.place, b"end", {})
    assert (answer.status, answer.body) == (302, b"there")


async def test_a_certificate_of_another_name_is_refused(receiver: Callable[[bytes], Receiver]) -> None:
    server = receiver(b"HTTP/1.1 200 OK\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        await post(server.place._replace(host="other.example"), b"end", {})


async def test_silence_ends_in_time(receiver: Callable[[bytes], Receiver]) -> None:
    server = receiver(b"")
    with pytest.raises(TimeoutError):
        await post(server.place, b"end", {}, seconds=0.4)


async def test_what_is_no_http_is_no_answer(receiver: Callable[[bytes], Receiver]) -> None:
    server = receiver(b"hello\r\n\r\n")
    with pytest.raises(ValueError, match="not HTTP"):
        await post(server.place, b"end", {})


async def test_a_header_holds_no_line_break(receiver: Callable[[bytes], Receiver]) -> None:
    server = receiver(b"HTTP/1.1 200 OK\r\n\r\n")
    with pytest.raises(ValueError, match="line break"):
        await post(server.place, b"end", {"X": "a\r\nY: b"})


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700:4700::1111", True),
        ("127.0.0.1", False),
        ("10.0.0.5", False),
        ("172.16.0.1", False),
        ("192.168.1.9", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fc00::1", False),
        ("fe80::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:1.1.1.1", True),
        ("64:ff9b::10.0.0.1", False),
        ("2002:0a00:0001::1", False),
    ],
)
def test_public_addresses(text: str, public: bool) -> None:
    """INTG-W1: not loopback, private, link-local, shared, multicast, nor one of these inside another."""
    assert is_public(ip_address(text)) is public


async def test_where_a_url_leads() -> None:
    assert await resolve("https://1.1.1.1/a b".replace(" ", "%20")) == Place("1.1.1.1", 443, "/a%20b", ("1.1.1.1",))
    assert (await resolve("https://[2606:4700:4700::1111]:8443?x=1")).target == "/?x=1"


@pytest.mark.parametrize(
    "url",
    ["", "https://", "ftp://1.1.1.1/", "https://1.1.1.1:99999/", "https://1.1.1.1/a b", "https://no-such.invalid/"],
)
async def test_what_leads_nowhere(url: str) -> None:
    with pytest.raises(ValueError):
        await resolve(url)
