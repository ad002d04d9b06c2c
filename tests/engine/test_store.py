"""What the database says, as callers are told it."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from engine.errors import CODES, ApiError, ConflictError
from engine.store import RETRIED, SQLSTATES, code_of, ready, retriable, translate
from tests.engine.wares import WARES

CLASSES = ("08", "22", "23", "40", "42", "53", "54", "55", "57")
KNOWN: dict[str, type[asyncpg.PostgresError]] = {
    state: error
    for error in vars(asyncpg.exceptions).values()
    if isinstance(error, type)
    and issubclass(error, asyncpg.PostgresError)
    and (state := getattr(error, "sqlstate", None))
}


def raised(sqlstate: str, **fields: Any) -> asyncpg.PostgresError:
    """The error of asyncpg for a state, its texts full of what must not be told."""
    error = KNOWN[sqlstate]("duplicate key value violates secret_index")
    error.detail = "Key (email)=(ann@example.com) already exists."
    for name, value in fields.items():
        setattr(error, name, value)
    return error


def told(error: BaseException, *, writing: bool = False) -> ApiError:
    return translate(error, WARES, writing=writing)


@pytest.mark.parametrize("sqlstate", sorted(state for state in KNOWN if state[:2] in CLASSES))
def test_every_state_of_these_classes_has_an_answer(sqlstate: str) -> None:
    code = code_of(sqlstate)
    assert code in CODES
    told_apart = ("42501", "42703", "42P01")
    assert (code == "internal_error") == (sqlstate[:2] == "42" and sqlstate not in told_apart)
    answer = told(raised(sqlstate))
    assert (
        "secret_index" not in f"{answer.message}{answer.details}" and "ann@" not in f"{answer.message}{answer.details}"
    )


def test_asyncpg_knows_states_of_each_class() -> None:
    assert {state[:2] for state in KNOWN} >= set(CLASSES)
    assert set(SQLSTATES.values()) <= set(CODES)


@pytest.mark.parametrize(
    ("sqlstate", "status", "code"),
    [
        ("23505", 409, "duplicate"),
        ("23503", 422, "invalid_reference"),
        ("23P01", 409, "overlapping_period"),
        ("23502", 422, "validation_error"),
        ("22003", 422, "validation_error"),
        ("40001", 409, "serialization_conflict"),
        ("40P01", 409, "serialization_conflict"),
        ("55P03", 409, "resource_locked"),
        ("57014", 504, "query_timeout"),
        ("57P01", 503, "db_unavailable"),
        ("53300", 503, "db_unavailable"),
        ("53100", 503, "storage_full"),
        ("54001", 422, "too_complex"),
        ("25006", 503, "read_only"),
        ("08006", 503, "db_unavailable"),
        ("42501", 404, "not_found"),
        ("42601", 500, "internal_error"),
        ("42703", 503, "schema_changed"),
        ("42P01", 503, "schema_changed"),
        ("28P01", 503, "db_unavailable"),
        ("3D000", 503, "db_unavailable"),
        ("P0001", 409, "rejected_by_database"),
        ("P0004", 409, "rejected_by_database"),
        ("XX000", 500, "internal_error"),
    ],
)
def test_the_promised_answers(sqlstate: str, status: int, code: str) -> None:
    answer = told(raised(sqlstate))
    assert (answer.status, answer.code) == (status, code)
    assert (answer.headers.get("Retry-After") == "1") == (status in (500, 503, 504))


@pytest.mark.parametrize("state", ["MY001", "45000"])
def test_a_state_of_somebodys_own_is_his_refusal(state: str) -> None:
    error = asyncpg.PostgresError("no way")
    error.sqlstate = state
    assert told(error).code == "rejected_by_database"


def test_a_right_that_nobody_granted_is_told_from_a_row_behind_a_wall() -> None:
    assert told(raised("42501", server_source_function="aclcheck_error")).code == "db_unavailable"
    assert told(raised("42501", server_source_function="ExecWithCheckOptions")).code == "not_found"


def test_a_constraint_names_its_fields() -> None:
    name = next(name for name, (code, fields) in WARES.constraints.items() if fields == ("code",))
    answer = told(raised("23505", constraint_name=name))
    assert [(fault.field, fault.code) for fault in answer.details] == [("code", "duplicate")]
    rule = next(
        name for name, (code, fields) in WARES.constraints.items() if code == "check_failed" and fields == ("small",)
    )
    answer = told(raised("23514", constraint_name=rule))
    assert [(fault.field, fault.code) for fault in answer.details] == [("small", "check_failed")]
    answer = told(raised("23502", column_name="title"))
    assert [(fault.field, fault.code) for fault in answer.details] == [("title", "required")]


def sent(error: BaseException) -> BaseException:
    error.statement_sent = True  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "writing", "code"),
    [
        (ConnectionRefusedError(), True, "db_unavailable"),
        (OSError("x"), False, "db_unavailable"),
        (asyncpg.InterfaceError("connection is closed"), False, "db_unavailable"),
        (asyncpg.InternalClientError("x"), False, "db_unavailable"),
        (asyncpg.ConnectionDoesNotExistError("x"), True, "db_unavailable"),
        (TimeoutError(), False, "db_unavailable"),
        (sent(TimeoutError()), False, "query_timeout"),
        (sent(ConnectionResetError()), False, "db_unavailable"),
        (sent(ConnectionResetError()), True, "outcome_unknown"),
        (sent(TimeoutError()), True, "outcome_unknown"),
        (KeyError("a bug"), False, "internal_error"),
    ],
)
def test_a_broken_wire(error: BaseException, writing: bool, code: str) -> None:
    answer = told(error, writing=writing)
    assert answer.code == code and answer.status >= 500
    assert answer.code == "internal_error" or answer.headers["Retry-After"] == "1"


def test_our_own_errors_pass() -> None:
    error = ConflictError("in_use")
    assert told(error) is error


def test_only_serialization_is_tried_again() -> None:
    assert [retriable(raised(state)) for state in (*RETRIED, "23505", "55P03")] == [True, True, False, False]
    assert not retriable(OSError())
    # its statement is prepared anew by then
    assert retriable(asyncpg.InvalidCachedStatementError("cached plan must not change result type"))


class Silent:
    """A database that fails, or never answers."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    async def ping(self) -> None:
        if self.error:
            raise self.error
        await asyncio.sleep(5)


@pytest.mark.anyio
@pytest.mark.parametrize("error", [OSError(), None])
async def test_readiness_is_bounded(error: Exception | None) -> None:
    database: Any = Silent(error)
    assert await ready(database, 0.05) is False
