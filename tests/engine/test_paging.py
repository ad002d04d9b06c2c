"""Page numbers and sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.paging import MAX_OFFSET, MAX_PAGE_SIZE, read_page, read_page_size, total_pages
from engine.scalars import BadValue


def test_pages_and_sizes_are_read() -> None:
    assert [read_page("1"), read_page("007"), read_page_size("1"), read_page_size("100")] == [1, 7, 1, 100]


def test_the_last_page_stays_within_a_bigint() -> None:
    last = MAX_OFFSET // MAX_PAGE_SIZE
    assert read_page(str(last)) * MAX_PAGE_SIZE < 2**63
    with pytest.raises(BadValue):
        read_page(str(last + 1))


@pytest.mark.parametrize("text", ["", "0", "-1", "+1", "1.0", "1e1", " 1", "1_0", "٣", "x", "9" * 17, "²"])
@pytest.mark.parametrize("read", [read_page, read_page_size])
def test_what_is_no_whole_number_from_one_is_refused(read: Callable[[str], int], text: str) -> None:
    with pytest.raises(BadValue) as caught:
        read(text)
    assert caught.value.code == "out_of_range" and caught.value.params["minimum"] == 1


@pytest.mark.parametrize(("total", "size", "pages"), [(0, 20, 0), (1, 20, 1), (20, 20, 1), (21, 20, 2), (100, 1, 100)])
def test_total_pages(total: int, size: int, pages: int) -> None:
    assert total_pages(total, size) == pages
