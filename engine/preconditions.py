"""`If-Match` and `If-None-Match` (RFC 9110): the version that a write is based on, and what a reader knows already. Pure.

The ETag of a row is its version. That of an answer which shows more than the row's own columns (`"7-0123456789abcdef"`) goes on
with a digest of the body, which a write does not look at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from engine.errors import Fault, ValidationError, invalid
from engine.types import Op

# operations that say of one stored row which version they are based on
MATCHING = frozenset({Op.UPDATE, Op.REPLACE, Op.DELETE, Op.STATUS})
ONE = re.compile(rb'"([^"]*)"').fullmatch
WEAK = re.compile(rb'W/"[^"]*"').fullmatch
OPAQUE = re.compile(rb'"[^"]*"').findall
COUNTED = re.compile(rb"([0-9]{1,9})(?:-[0-9a-f]{16})?").fullmatch
DIGESTED = re.compile(rb"([0-9a-f]{32})(?:-[0-9a-f]{16})?").fullmatch
# what no row is at: the version of a tag that is not one of ours
NEVER: tuple[int, str] = (0, "")
BELONGS = "is said of one stored row: send it with PATCH, PUT or DELETE of the row's address"


def refuse(op: Op | None, if_match: bytes | None, if_none_match: bytes | None, *, writes: bool) -> None:
    """400 for a condition where it means nothing; None is a batch, whose operations have a `version` each."""
    if if_match is not None and op not in MATCHING:
        more = "; in a batch the body of each such operation has a `version`" if op is None else ""
        raise ValidationError("bad_request", f"If-Match {BELONGS}{more}", status=400)
    if if_none_match is not None and writes:
        text = "If-None-Match is taken by GET of one row; a write names the version that was read in If-Match"
        raise ValidationError("bad_request", text, status=400)


def version_asked(headers: Sequence[bytes], *, counted: bool) -> int | str | None:
    """The version that `If-Match` names: None for any, `NEVER` for a tag that is none of ours. `counted`: versions are numbers.
    400 for several tags, of which no write could mean all."""
    given = b", ".join(headers).strip()
    if given == b"*":
        return None
    one = ONE(given)
    if one is None and not WEAK(given) and (b"," in given or b'"' in given or not given):
        text = 'If-Match takes one tag, the ETag of the row as it was read, or * for any; such as If-Match: "7"'
        raise ValidationError("bad_request", text, status=400)
    found = (COUNTED if counted else DIGESTED)(one[1] if one else given)
    if found is None:
        return NEVER[0] if counted else NEVER[1]
    return int(found[1]) if counted else found[1].decode()


def agreed(*said: int | str | None) -> int | str | None:
    """The version that a request names at several places. 422 when they differ."""
    named = dict.fromkeys(version for version in said if version is not None)
    if len(named) > 1:
        text = "is named twice, and not the same; say it once, in If-Match or as version"
        raise invalid([Fault("version", "exclusive", text)])
    return next(iter(named), None)


def known(headers: Sequence[bytes], tag: bytes) -> bool:
    """Whether `If-None-Match` has the tag (in quotes), by weak comparison; `*` is every tag."""
    given = b", ".join(headers).strip()
    return given == b"*" or tag in OPAQUE(given)
