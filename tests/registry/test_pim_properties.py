"""Laws of bar codes and units, for values that nobody thought of."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.errors import ApiError
from registry.tenants.barcodes import check_digit, is_gtin
from registry.tenants.units import converted

BODIES = st.sampled_from((7, 11, 12, 13)).flatmap(lambda n: st.text("0123456789", min_size=n, max_size=n))
DIMENSIONS = ("count", "mass", "length", "area", "volume", "time")
QUANTITIES = st.decimals(min_value=0, max_value=10**14 - 1, places=4)


def gtin(body: str) -> str:
    """The digits with their check digit."""
    return f"{body}{check_digit(body)}"


@st.composite
def unit(draw: st.DrawFn, dimension: str | None = None) -> dict[str, Any]:
    """A unit as its columns allow."""
    factor = draw(st.decimals(min_value=Decimal("1e-10"), max_value=10**10 - 1, places=10))
    kind = dimension or draw(st.sampled_from(DIMENSIONS))
    return {"code": "U", "dimension": kind, "factor": factor, "decimals": draw(st.integers(0, 4))}


@given(BODIES)
def test_a_check_digit_makes_a_gtin(body: str) -> None:
    """PIM-V1: with its check digit it is one, and leading zeros make the longer forms of the same number."""
    assert is_gtin(gtin(body))
    assert is_gtin(gtin(body).zfill(14))


@given(BODIES, st.data())
def test_a_wrong_digit_is_noticed(body: str, data: st.DataObject) -> None:
    """PIM-V1: any one digit that is read wrongly breaks it."""
    code = gtin(body)
    place = data.draw(st.integers(0, len(code) - 1))
    digit = data.draw(st.sampled_from("0123456789").filter(lambda d: d != code[place]))
    assert not is_gtin(code[:place] + digit + code[place + 1 :])


@given(BODIES, st.data())
def test_swapped_neighbours_are_noticed(body: str, data: st.DataObject) -> None:
    """PIM-V1: so do two neighbours read in the wrong order, unless they differ by five."""
    code = gtin(body)
    place = data.draw(st.integers(0, len(code) - 2))
    first, second = code[place], code[place + 1]
    assume(abs(int(first) - int(second)) not in (0, 5))
    assert not is_gtin(code[:place] + second + first + code[place + 2 :])


@given(st.text(max_size=16))
def test_other_texts_are_no_gtin(text: str) -> None:
    """PIM-V1: only ASCII digits of four lengths, digits of other scripts are none."""
    assert not is_gtin(text) or (text.isascii() and text.isdigit() and len(text) in (8, 12, 13, 14))
    assert not is_gtin("".join(chr(0x0660 + int(digit)) for digit in gtin("400638133393")))


@given(QUANTITIES, unit("mass"), unit("mass"))
def test_a_conversion_is_right_to_half_a_step(quantity: Decimal, source: Any, target: Any) -> None:
    """PIM-U1: result x factor b differs from quantity x factor a by at most half of the last place."""
    result = converted(quantity, source, target)
    step = Decimal(1).scaleb(-target["decimals"])
    assert result.as_tuple().exponent == -target["decimals"]
    error = Fraction(result) * Fraction(target["factor"]) - Fraction(quantity) * Fraction(source["factor"])
    assert abs(error) <= Fraction(step) * Fraction(target["factor"]) / 2


@given(QUANTITIES, unit())
def test_a_unit_converts_to_itself(quantity: Decimal, source: Any) -> None:
    """PIM-U1: the same unit keeps a quantity that has its decimals."""
    own = quantity.quantize(Decimal(1).scaleb(-source["decimals"]))
    assert converted(own, source, source) == own


@given(QUANTITIES, unit(), unit())
def test_dimensions_do_not_mix(quantity: Decimal, source: Any, target: Any) -> None:
    """PIM-U1: between dimensions it is 422 unit_mismatch."""
    assume(source["dimension"] != target["dimension"])
    with pytest.raises(ApiError) as error:
        converted(quantity, source, target)
    assert (error.value.status, error.value.code) == (422, "unit_mismatch")
