"""Gardens with hedges between: rows that belong to one caller or the other, by owner, by region, by their header."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from sqlalchemy import String
from sqlalchemy.orm import Mapped

from engine.entity import Entity, Nested, Owner, Rows
from engine.types import Code, Model, Name, Scope, column, outside, reference


class HedgeModel(Model, abstract=True):
    """Base of the test models."""


scopes = [Scope("hedge", HedgeModel.metadata, tenant_bound=True)]
BOSS = "garden.all.manage"


class Client(HedgeModel, table="garden.clients"):
    """Whom a garden is for; seen by the region."""

    name: Mapped[Name]
    region: Mapped[str] = column(String(8), default="north")


clients = Entity(
    Client,
    label="name",
    search=["name"],
    rows=[Rows("region", "in", "$caller.regions", unless=BOSS)],
    permissions=[BOSS],
)


class Plot(HedgeModel, table="garden.plots"):
    """A garden; it belongs to who owns it and to who tends it."""

    code: Mapped[Code]
    name: Mapped[Name]
    owner_id: Mapped[UUID | None] = outside("manager/idam.users")
    tender_id: Mapped[UUID | None] = outside("manager/idam.users")
    client_id: Mapped[UUID | None] = reference("garden.clients")


plots = Entity(
    Plot,
    label="name",
    unique=["code"],
    search=["name"],
    machine="draft* open closed : draft>open; open>closed",
    nested=[Nested("beds", "garden.beds")],
    owner=Owner(("owner_id", "tender_id"), unless=BOSS),
)


class Bed(HedgeModel, table="garden.beds"):
    """A part of a plot, which it follows."""

    plot_id: Mapped[UUID] = reference("garden.plots", "cascade")
    plant: Mapped[Name]
    secret: Mapped[bool] = column(default=False)


beds = Entity(
    Bed,
    kind="line",
    label="plant",
    search=["plant"],
    parent=("garden.plots", "plot_id"),
    owner=Owner(("plot.owner_id", "plot.tender_id"), unless=BOSS),
    rows=[Rows("secret", "eq", False, unless="garden.secrets.read", on="read delete")],
    permissions=["garden.secrets.read"],
)


class Sign(HedgeModel, table="garden.signs"):
    """Everybody reads it; whoever put it up, or who is of its kind's crew, changes it while it is fresh."""

    text: Mapped[Name]
    crew: Mapped[Literal["red", "blue"]]
    fresh: Mapped[bool] = column(default=True)
    put_by: Mapped[UUID | None] = outside("manager/idam.users")
    grave: Mapped[bool] = column(default=False)


signs = Entity(
    Sign,
    label="text",
    hidden=["grave"],
    read_only=["grave"],
    rows=[
        Rows("grave", "eq", False, on="read"),
        Rows(
            {
                "and": [
                    {"field": "fresh", "value": True},
                    {
                        "or": [
                            {"field": "put_by", "value": "$caller.id"},
                            {"field": "crew", "op": "in", "value": ["$caller.crew"]},
                        ]
                    },
                ]
            },
            on="update delete status",
        ),
    ],
)


class Tag(HedgeModel, table="garden.tags"):
    """A note about a client, for everybody."""

    text: Mapped[Name]
    client_id: Mapped[UUID | None] = reference("garden.clients")


tags = Entity(Tag, label="text")
