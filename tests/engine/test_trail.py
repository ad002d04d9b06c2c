"""Change logs of databases that declare none."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, MetaData, String, Table

from engine.entity import Entity
from engine.errors import StartupFault
from engine.trail import change_log, logs_for
from engine.types import Model, Scope


def pens(metadata: MetaData, table: str = "desk.pens") -> Entity:
    schema, name = table.split(".")
    return Entity(Table(name, metadata, Column("name", String(20)), schema=schema), label="name")


def test_a_database_has_one_change_log_whoever_declares_it() -> None:
    one, other, apart = MetaData(), MetaData(), MetaData()
    scopes = [Scope("one", one), Scope("other", other), Scope("apart", apart, database="apart")]
    entities = [pens(one), pens(other), pens(apart)]
    [(first, log), (second, _)] = logs_for(scopes, entities)
    assert (first, second) == (scopes[0], scopes[2])
    assert log.role == "change_log" and log.table.metadata is one and log.key == "log.changes"
    assert logs_for(scopes, entities)[0][1] is log  # loaded once more, the tables are the same
    assert logs_for(scopes, [*entities, log]) == logs_for(scopes[2:], entities)

    class Logged(Model, abstract=True): ...

    own = change_log(Logged, "own.records")
    assert logs_for([Scope("own", Logged.metadata)], [pens(Logged.metadata), own]) == []


def test_none_is_made_where_nobody_wants_it() -> None:
    metadata = MetaData()
    entities = [pens(metadata)]
    assert logs_for([Scope("quiet", metadata, audited=False)], entities) == []
    assert logs_for([Scope("theirs", metadata, foreign=True)], entities) == []
    assert logs_for([Scope("empty", MetaData())], entities) == []
    # rows of tenants and rows of the platform are never told of in one log
    found = logs_for([Scope("all", metadata, database="x"), Scope("bound", MetaData(), True, database="x")], entities)
    assert [scope.name for scope, _ in found] == ["all"]


def test_another_table_in_its_place_is_a_fault() -> None:
    metadata = MetaData()
    with pytest.raises(StartupFault, match="change log would be"):
        logs_for([Scope("odd", metadata)], [pens(metadata, "log.changes")])
