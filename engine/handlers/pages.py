"""A page on its way: where it begins, whether there is a next one, and the cursor that leads there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from engine.call import Call
from engine.cursors import context_of, cursor_of, place_of
from engine.errors import generic
from engine.shapes import Listing


class Turn:
    """One page of a list. `values`: parameters of its statement; `nulls`: which values of the place that it follows are
    null, empty without a cursor."""

    def __init__(self, call: Call, listing: Listing, names: Sequence[str], binding: str) -> None:
        """`names` are the keys of its order, `binding` what its cursors are bound to. ValidationError `invalid_cursor`."""
        self.call, self.listing, self.names = call, listing, names
        self.sign = call.service.shop.vault.sign
        self.context = context_of(binding, call.unit.tenant)
        size = listing.page_size
        # a total tells whether more rows follow; without one a row more is asked for
        self.ahead = listing.cursor is not None or listing.count != "exact"
        self.values: dict[str, Any] = {"limit": size + self.ahead, "last": size, "offset": (listing.page - 1) * size}
        self.nulls: tuple[bool, ...] = ()
        # rows without a key have no place of their own, so a page has none that begins after it
        self.placed = bool(call.resource.keys)
        if listing.cursor is not None:
            if not self.placed:
                raise generic("invalid_cursor")
            place = place_of(self.sign, self.context, listing.cursor, len(names))
            self.values.update((f"c{i}", value) for i, value in enumerate(place))
            self.nulls = tuple(value is None for value in place)

    def following(self, record: Sequence[Any]) -> str | None:
        """The cursor of the next page or None, from the record of this one (total, rows, how many they are, the last's place)."""
        total, _, count, place = record
        size = self.listing.page_size
        more = count is not None and (count > size if self.ahead else self.listing.page * size < total)
        if not more or not self.placed or place is None:
            return None
        found = place if isinstance(place, list) else place_in(place, self.names)
        return cursor_of(self.sign, self.context, found)


def place_in(row: str, names: Sequence[str]) -> list[str | None]:
    """The place of a rendered row, which shows it."""
    shown = msgspec.json.decode(row)
    return [None if shown[name] is None else _text(shown[name]) for name in names]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
