"""Formats of files, a row each: CSV, NDJSON, XLSX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.errors import ApiError, generic

FormatName = Literal["csv", "ndjson", "xlsx"]


@dataclass(frozen=True)
class Format:
    """One format: its name in `format=` and in a file's name, its media types (the first is what answers say)."""

    name: FormatName
    media: tuple[str, ...]
    meaning: str
    parameters: str = ""

    @property
    def content_type(self) -> bytes:
        """The header of an answer."""
        return f"{self.media[0]}{self.parameters}".encode()


FORMATS: dict[str, Format] = {
    row.name: row
    for row in (
        Format("csv", ("text/csv",), "comma separated, RFC 4180, the first line names the fields", "; charset=utf-8"),
        Format(
            "ndjson",
            ("application/x-ndjson", "application/ndjson", "application/jsonl"),
            "one JSON object a line",
        ),
        Format(
            "xlsx",
            ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",),
            "a workbook of one sheet, at most 1,048,575 rows",
        ),
    )
}
MEDIA = {media: row for row in FORMATS.values() for media in row.media}


def _unknown(code: str, asked: str) -> ApiError:
    return generic(code, f"{asked} one of {', '.join(row.media[0] for row in FORMATS.values())}")


def format_of_answer(accept: bytes | None) -> Format:
    """The format that an Accept header likes best; CSV when it takes anything. 406 when it takes none of them."""
    likings: list[tuple[float, Format]] = []
    for part in (accept or b"*/*").decode("latin-1").split(","):
        media, *rest = (piece.strip().lower() for piece in part.split(";"))
        found = MEDIA.get(media) or (FORMATS["csv"] if media in ("*/*", "text/*") else None)
        weight = next((piece[2:] for piece in rest if piece.startswith("q=")), "1")
        liking = float(weight) if weight.replace(".", "", 1).isdigit() else 0.0
        if found is not None and liking > 0:
            likings.append((liking, found))
    if not likings:
        raise _unknown("not_acceptable", "This route gives")
    return max(likings, key=lambda liking: liking[0])[1]


def format_of_body(content_type: bytes | None) -> Format:
    """The format that a Content-Type names. 415 for any other, and for a text that is not UTF-8."""
    media, _, parameters = (content_type or b"").decode("latin-1").lower().partition(";")
    charset = parameters.replace(" ", "").replace('"', "")
    found = MEDIA.get(media.strip())
    if found is None or ("charset=" in charset and "charset=utf-8" not in charset):
        raise _unknown("unsupported_media_type", "Send the table in UTF-8 as")
    return found


def format_of_name(name: str) -> Format | None:
    """The format that the end of a file's name says."""
    return FORMATS.get({"jsonl": "ndjson"}.get(end := name.rpartition(".")[2].lower(), end))
