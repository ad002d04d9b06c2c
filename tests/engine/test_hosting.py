"""A unit of work that goes into the tenants of a platform: one transaction, each statement bound to its own tenant."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import pytest

from engine.errors import ForbiddenError
from engine.main import System
from engine.moment import UnitOfWork
from engine.testing.harness import Live
from engine.types import Principal, TenantRef

Work = Callable[[System, TenantRef, TenantRef], Awaitable[None]]


@pytest.fixture
def places(live: Live) -> tuple[TenantRef, TenantRef]:
    """The tenants `first` and `second`."""
    first = TenantRef(live.tenant(live.client("tenants")), "first")
    return first, TenantRef(live.tenant(live.other_tenant()), "second")


def run(live: Live, work: Work, places: tuple[TenantRef, TenantRef]) -> None:
    """Do something with units of work of a second process over the same databases."""

    async def do() -> None:
        system = System(live.system.settings)
        system.server = live.system.server
        system.locate()
        try:
            await work(system, *places)
        finally:
            await system.close()

    asyncio.run(do())


async def names(unit: UnitOfWork) -> set[str]:
    """The customers that a unit sees, whatever its conditions: the wall in the database holds alone."""
    table = unit.find("crm.customers").table
    return {row["name"] for row in await unit.fetch(table.select().with_only_columns(table.c.name))}


def test_each_moment_sees_and_writes_its_own_tenant(live: Live, places: tuple[TenantRef, TenantRef]) -> None:
    mark = str(uuid4())

    async def work(system: System, first: TenantRef, second: TenantRef) -> None:
        async with system.unit("manager") as unit:
            moments = [await unit.in_scope("tenants", place) for place in (first, second, first)]
            assert moments[0] is moments[2] and moments[0].connection is not moments[1].connection
            # turn by turn: the binding follows the statement, not the order in which the moments were opened
            for turn in ("a", "b"):
                for moment, place in zip(moments[:2], (first, second), strict=True):
                    await moment.create("crm.customers", [{"name": f"{mark} {place.slug} {turn}"}])
            for moment, place in zip(moments[:2], (first, second), strict=True):
                mine = {name for name in await names(moment) if name.startswith(mark)}
                assert mine == {f"{mark} {place.slug} {turn}" for turn in ("a", "b")}
            assert await moments[0].in_scope("manager") is unit
        assert system.pools["tenants"].idle and len(system.pools["tenants"].idle) == 1
        # the connection is bound as it was before
        for place in (first, second):
            async with system.unit("tenants", Principal(None, tenant=place, everything=True)) as unit:
                assert {name.split()[1] for name in await names(unit) if name.startswith(mark)} == {place.slug}

    run(live, work, places)


def test_a_failure_undoes_the_work_in_every_tenant(live: Live, places: tuple[TenantRef, TenantRef]) -> None:
    mark = str(uuid4())

    async def work(system: System, first: TenantRef, second: TenantRef) -> None:
        with pytest.raises(LookupError):
            async with system.unit("manager") as unit:
                for place in (first, second):
                    await (await unit.in_scope("tenants", place)).create("crm.customers", [{"name": mark}])
                raise LookupError
        async with system.unit("manager") as unit:
            for place in (first, second):
                assert mark not in await names(await unit.in_scope("tenants", place))

    run(live, work, places)


def test_a_caller_of_one_tenant_does_not_come_into_another(live: Live, places: tuple[TenantRef, TenantRef]) -> None:
    async def work(system: System, first: TenantRef, second: TenantRef) -> None:
        who = Principal(UUID(int=1), tenant=first, everything=True)
        for scope in ("tenants", "manager"):
            async with system.unit(scope, who) as unit:
                with pytest.raises(ForbiddenError, match="another scope"):
                    await unit.in_scope("tenants", second)
                own = await unit.in_scope("tenants", first)
                assert own.tenant == first.id and (own is unit) is (scope == "tenants")

    run(live, work, places)
