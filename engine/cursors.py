"""Cursors: where a page ended, as an opaque text that only this server can make. Pure.

A cursor is the place of the last row (its sort values and key, as texts or null) and a signature over the place and over
everything that decides which rows the list has: tenant, entity, sort, filters, search. In any other list it does not count.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hmac import compare_digest
from uuid import UUID

import msgspec

from engine.errors import Fault, ValidationError
from engine.shapes import Listing

Sign = Callable[[bytes], bytes]
Place = tuple[str | None, ...]

MARK = 16
# what a next page may say otherwise: it shows the same rows
FREE = frozenset({"page", "page_size", "cursor", "count", "fields", "expand", "used", "facets", "reveals"})
BINDING = tuple(name for name in Listing.__struct_fields__ if name not in FREE | {"conditions"})
PLACE = msgspec.json.Decoder(list[str | None])


def invalid_cursor() -> ValidationError:
    """422: made up, changed, or of another list."""
    return ValidationError(
        "invalid_cursor", details=[Fault("cursor", "invalid_cursor", "does not belong to this list")]
    )


def head_of(listing: Listing, path: str) -> str:
    """What the cursors of the list `path` are bound to, beside tenant and conditions."""
    asked = tuple(getattr(listing, name) for name in BINDING)
    return f"{path}|{asked!r}|"


def binding_of(head: str, listing: Listing) -> str:
    """The same with the conditions."""
    # a tuple writes itself faster than a named one
    return f"{head}{[*map(tuple, listing.conditions)]!r}|"


def context_of(binding: str, tenant: UUID | None) -> bytes:
    """The same with the tenant, as it is signed."""
    return f"{tenant}|{binding}".encode("utf-8", "surrogatepass")


def cursor_of(sign: Sign, context: bytes, place: Sequence[str | None]) -> str:
    """The cursor after a row."""
    body = msgspec.json.encode(list(place))
    return urlsafe_b64encode(sign(context + body)[:MARK] + body).rstrip(b"=").decode()


def place_of(sign: Sign, context: bytes, cursor: str, length: int) -> Place:
    """The `length` values of a cursor. ValidationError `invalid_cursor` for one that was not made for this list."""
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        body = raw[MARK:]
        if not compare_digest(raw[:MARK], sign(context + body)[:MARK]):
            raise invalid_cursor()
        place = PLACE.decode(body)
    except (ValueError, msgspec.MsgspecError):
        raise invalid_cursor() from None
    if len(place) != length:
        raise invalid_cursor()
    return tuple(place)
