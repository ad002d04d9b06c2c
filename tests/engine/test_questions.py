"""Frames of lists: a text that another one lent its frame asks for the same as one that is read from the start."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ApiError
from engine.questions import KEPT_BYTES, MOST_KEPT, Frame, Question, Questions
from engine.shapes import LIMITS
from tests.engine.wares import CATALOG, WARES

# open parameters and values that some of them take, and others do not
VALUES: dict[str, tuple[str, ...]] = {
    "filter[title]": ("a", "ä +%", "x=y&z", "\x00", "", "a" * 60),
    "filter[amount][between]": ("1,2", "-3,9", "1", "x,2"),
    "filter[kind][in]": ("new,used", "used", "new,worn-out", ""),
    "filter[parts.note][contains]": ("50%", "_", "b"),
    "filter[ready]": ("true", "false", "maybe"),
    "filter[at][lt]": ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00+02:00", "today"),
    "filter[price][isnull]": ("true", "false", "0"),
    "page": ("1", "7", "0", "x"),
}
FIXED = (
    'where={"or":[{"field":"big","value":1},{"field":"big","op":"between","value":[3,9]}]}',
    "expand=parts",
    "expand[parts][filter][note]=n",
    "sort=-title",
    "q=red blue",
    "page_size=5",
    "deleted=include",
    "filter%5bbig%5d=7",
    "",
)
texts = st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=4)
fixed = st.lists(st.sampled_from(FIXED), unique=True, max_size=3)


def outcome(questions: Questions, raw: bytes) -> object:
    """What is asked for, or how it is refused."""
    try:
        return questions.read(WARES, raw)
    except ApiError as error:
        return error.status, error.code, error.details


@given(texts, fixed, st.data())
@settings(max_examples=400, deadline=None)
def test_a_frame_asks_for_what_the_text_asks_for(names: list[str], others: list[str], data: st.DataObject) -> None:
    kept = Questions(CATALOG, LIMITS)
    order = data.draw(st.permutations([*names, *others]))
    for _ in range(4):
        given_values = {name: quote(data.draw(st.sampled_from(VALUES[name])), safe="") for name in names}
        raw = "&".join(
            f"{quote(part, safe='')}={given_values[part]}" if part in VALUES else quote(part, safe="=[]&%")
            for part in order
        ).encode()
        assert outcome(kept, raw) == outcome(Questions(CATALOG, LIMITS), raw)
    assert len(kept.frames) <= 1


def test_only_values_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    filled = []
    real = Frame.filled

    def counting(frame: Frame, raw: list[bytes]) -> Question:
        filled.append(raw)
        return real(frame, raw)

    monkeypatch.setattr(Frame, "filled", counting)
    kept = Questions(CATALOG, LIMITS)
    first = kept.read(WARES, b"filter[title]=a&sort=title&cursor=one")
    second = kept.read(WARES, b"filter[title]=b&sort=title&cursor=two")
    assert filled == [[b"b", b"two"]]
    assert (first.values["f0"], second.values["f0"]) == ("a", "b")
    assert (first.listing.cursor, second.listing.cursor) == ("one", "two")
    assert first.binding != second.binding and first.shape == second.shape


def test_a_value_that_makes_another_shape_is_read_whole() -> None:
    kept = Questions(CATALOG, LIMITS)
    for value in ("true", "false", "true", "false"):
        raw = f"filter[parent.title][isnull]={value}&filter[title]=a".encode()
        assert outcome(kept, raw) == outcome(Questions(CATALOG, LIMITS), raw)


def test_frames_are_few_and_short() -> None:
    kept = Questions(CATALOG, LIMITS)
    kept.read(WARES, b'where={"field":"title","value":"' + b"a" * KEPT_BYTES + b'"}')
    assert not kept.frames
    for number in range(MOST_KEPT + 5):
        kept.read(WARES, b"q=%d" % number)
    assert len(kept.frames) == MOST_KEPT
    assert kept.read(WARES, b"q=1").values["q"] == "1"
