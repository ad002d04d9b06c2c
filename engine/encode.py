"""Rows and errors -> bytes. PostgreSQL has rendered the rows; here they are only put into the envelope. Pure."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from engine.errors import ApiError
from engine.paging import total_pages
from engine.shapes import Listing, Version

JSON = (b"content-type", b"application/json")
ENCODER = msgspec.json.Encoder()

Header = tuple[bytes, bytes]


class Answer(NamedTuple):
    """What goes over the wire."""

    status: int
    headers: tuple[Header, ...]
    body: bytes


class Streamed(NamedTuple):
    """An answer whose length nobody knows before it has been sent."""

    status: int
    headers: tuple[Header, ...]
    parts: AsyncGenerator[bytes, None]


def success(data: str | bytes, status: int = 200, headers: tuple[Header, ...] = ()) -> Answer:
    """`data` is JSON text."""
    raw = data.encode() if isinstance(data, str) else data
    return Answer(status, (JSON, *headers), b'{"success":true,"data":%b,"error":null}' % raw)


def success_of(data: Any, status: int = 200, headers: tuple[Header, ...] = ()) -> Answer:
    """The envelope around a Python value."""
    return success(ENCODER.encode(data), status, headers)


def etag(version: Version, shown: str | None = None) -> Header:
    """The strong form of a row's version; `shown`: the row as it is shown, where it shows more than its own columns."""
    digest = "" if shown is None else f"-{blake2b(shown.encode(), digest_size=8).hexdigest()}"
    return b"etag", f'"{version}{digest}"'.encode()


def row_text(text: str, output: Mapping[str, Any]) -> str:
    """The row, with what is shown this once."""
    if not output:
        return text
    return ENCODER.encode({**msgspec.json.decode(text), **output}).decode()


def rows_text(texts: Iterable[str]) -> str:
    """A JSON array of rendered rows."""
    return f"[{','.join(texts)}]"


ESTIMATED = '"total_is_estimate":true'


def page(
    items: bytes | None, listing: Listing, total: int | None, *, cursor: str | None = None, more: Sequence[str] = ()
) -> Answer:
    """A page of a list. `items`: rendered rows with commas between; `cursor` leads to the next page, where there is one;
    `more`: other members of the data."""
    pages = "null" if total is None else total_pages(total, listing.page_size)
    shown = "null" if total is None else total
    number = listing.page if listing.cursor is None else "null"
    following = f'"{cursor}"' if cursor else "null"
    counts = f'"page_size":{listing.page_size},"total":{shown},"total_pages":{pages}'
    tail = ",".join((f'"page":{number},{counts},"next_cursor":{following}', *more))
    # the rows may be long, so they are copied once
    body = b'{"success":true,"data":{"items":[%b],%b},"error":null}' % (items or b"", tail.encode())
    return Answer(200, (JSON,), body)


def error_of(error: ApiError, request_id: str) -> dict[str, Any]:
    """The one shape of every error."""
    details = [
        {"field": fault.field, "code": fault.code, "message": fault.message, "params": dict(fault.params)}
        for fault in error.details
    ]
    return {"code": error.code, "message": error.message, "details": details, "request_id": request_id}


def failure(error: ApiError, request_id: str) -> Answer:
    """An error in its envelope."""
    body = ENCODER.encode({"success": False, "data": None, "error": error_of(error, request_id)})
    headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    if error.status == 401 and not any(name == b"www-authenticate" for name, _ in headers):
        headers.append((b"www-authenticate", b"Bearer"))
    return Answer(error.status, (JSON, *headers), body)


def bare(value: Any, status: int = 200, headers: Sequence[Header] = ()) -> Answer:
    """JSON without the envelope, as OAuth 2 and OpenAPI want it."""
    return Answer(status, (JSON, *headers), ENCODER.encode(value))


NOT_MODIFIED = 304
