"""Pages: which rows of a list, and what the envelope says of the rest."""

from __future__ import annotations

from engine.scalars import BadValue

DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 100
MAX_OFFSET = 2**53
MAX_CURSOR = 8192


def read_cursor(text: str) -> str:
    """The `next_cursor` of a page. Whether it is one, and of this list, is seen where the caller is known."""
    if not 0 < len(text) <= MAX_CURSOR:
        raise BadValue("invalid_cursor", "is not the next_cursor of a page")
    return text


def _whole(text: str, low: int, high: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 16 or not low <= int(text) <= high:
        raise BadValue("out_of_range", f"must be a whole number from {low} to {high}", minimum=low, maximum=high)
    return int(text)


def read_page(text: str) -> int:
    """A page number, from 1."""
    return _whole(text, 1, MAX_OFFSET // MAX_PAGE_SIZE)


def read_page_size(text: str) -> int:
    """Rows a page, 1 to 100."""
    return _whole(text, 1, MAX_PAGE_SIZE)


def total_pages(total: int, page_size: int) -> int:
    """How many pages hold `total` rows."""
    return -(-total // page_size)
