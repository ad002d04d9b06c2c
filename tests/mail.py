"""A mail server for tests: speaks enough SMTP to take letters, and refuses when told to."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from email.policy import default


class MailServer(socketserver.ThreadingTCPServer):
    """Keeps the letters it took. `refusal`: what it answers to a recipient instead of 250."""

    daemon_threads = allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Talk)
        self.letters: list[Message] = []
        self.refusal = ""
        self.passwords: list[str] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])


class _Talk(socketserver.StreamRequestHandler):
    server: MailServer

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def handle(self) -> None:
        self.say("220 test")
        while line := self.rfile.readline().decode().strip():
            word = line.split()[0].upper()
            if word == "EHLO":
                self.say("250-test\r\n250 AUTH PLAIN LOGIN")
            elif word == "RCPT":
                self.say(self.server.refusal or "250 ok")
            elif word == "DATA":
                self.take()
            elif word == "AUTH":
                self.server.passwords.append(line)
                self.say("235 welcome")
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def take(self) -> None:
        self.say("354 go on")
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        self.server.letters.append(message_from_bytes(b"".join(lines), policy=default))
        self.say("250 taken")


@contextmanager
def mail_server() -> Iterator[MailServer]:
    """A running one."""
    with MailServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
