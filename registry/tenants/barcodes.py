"""Global trade item numbers: GTIN-8, 12 (UPC-A), 13 (EAN) and 14, with their check digit (GS1 General Specifications, 7.9)."""

from __future__ import annotations

LENGTHS = frozenset({8, 12, 13, 14})


def check_digit(digits: str) -> int:
    """The digit that follows `digits`: seen from the right, every other digit weighs three."""
    weighed = (int(digit) * (1 if place % 2 else 3) for place, digit in enumerate(reversed(digits)))
    return -sum(weighed) % 10


def is_gtin(text: str) -> bool:
    """Whether the text is a GTIN whose last digit is right."""
    plain = text.isascii() and text.isdigit() and len(text) in LENGTHS
    return plain and check_digit(text[:-1]) == int(text[-1])
