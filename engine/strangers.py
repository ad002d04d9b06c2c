"""Parameters that are not taken: unknown, repeated, or of no use here. 400, with what is taken in their place."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from engine.errors import ApiError, Fault, ValidationError


def unknown(name: str, known: Any, place: str = "") -> ApiError:
    """400 with a hint. `place`: where in a body the name stands, a dot after it."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    whole = f"{place[:80]}{name[:64]}"
    text = f"{whole!r} is not a parameter here" + (f"; perhaps you meant {place[:80] + close[0]!r}" if close else "")
    return ValidationError("unknown_parameter", text, details=[Fault(whole, "unknown_parameter", text)], status=400)


def not_taken(name: str, hint: str) -> ApiError:
    """400 with a hint for a parameter that is taken elsewhere."""
    text = f"{name[:80]!r} is not taken here; {hint}"
    return ValidationError("unknown_parameter", text, details=[Fault(name[:80], "unknown_parameter", text)], status=400)


def of_one_row(name: str, path: str) -> ApiError:
    """400 for `limit` or `sort` of a relation to one row."""
    return not_taken(name, f"{path[:64]!r} leads to one row, of which there is nothing to sort or limit")


def repeated(name: str) -> ApiError:
    """400 for a parameter that stands twice."""
    fault = Fault(name[:64], "repeated", "is given twice")
    return ValidationError("unknown_parameter", f"{name[:64]!r} is given twice", details=[fault], status=400)


def exclusive(name: str, other: str, hint: str = "") -> ApiError:
    """400 for two parameters that cannot stand together."""
    text = f"{name} and {other} exclude each other" + (f"; {hint}" if hint else "")
    return ValidationError("unknown_parameter", text, details=[Fault(name, "exclusive", text)], status=400)
