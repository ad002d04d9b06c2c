"""A package as a user of the engine writes it: a scope with a database of its own, rules, a job, events, settings, a log."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Mapped

from engine import (
    Change,
    Code,
    Entity,
    Event,
    Events,
    Job,
    Jobs,
    Json,
    Model,
    Moment,
    Money,
    Name,
    Nested,
    Point,
    Rules,
    Scope,
    change_log,
    column,
    reference,
    refuse,
)


class BoothModel(Model, abstract=True):
    """Base of the booth's models."""


class Article(BoothModel, table="sales.articles"):
    """Something we sell."""

    sku: Mapped[Code]
    name: Mapped[Name]
    price: Mapped[Money] = column(default=0, minimum=0)
    details: Mapped[Json] = column(default=dict)


class Receipt(BoothModel, table="sales.receipts"):
    """What somebody bought."""

    buyer: Mapped[Name]


class ReceiptLine(BoothModel, table="sales.receipt_lines"):
    """An article of a receipt."""

    receipt_id: Mapped[UUID] = reference("sales.receipts", "cascade")
    article_id: Mapped[UUID] = reference("sales.articles")
    amount: Mapped[Money] = column(minimum=0)


scopes = [Scope("booth", BoothModel.metadata, database="booth", description="A booth at the fair.")]
articles = Entity(Article, label="name", unique=["sku"], once=["sku"], search=["sku", "name"])
receipts = Entity(Receipt, label="buyer", nested=[Nested("lines", "sales.receipt-lines")])
receipt_lines = Entity(ReceiptLine, kind="line", parent=("sales.receipts", "receipt_id"))
changes = change_log(BoothModel)
SETTINGS = {"booth.dearest": 1000}
rules, jobs, events = Rules("booth/sales"), Jobs("booth"), Events("booth")
# what the subscriber was told
HEARD: list[str] = []


@rules.on("BOOTH-1", "articles", Point.BEFORE_CREATE, Point.BEFORE_UPDATE, watches="price", raises="422:too_dear")
async def nothing_is_too_dear(_moment: Moment, given: list[Change]) -> None:
    """A price has an end, which a setting names."""
    dearest = await _moment.setting("booth.dearest")
    for change in given:
        if change["price"] is not None and change["price"] > dearest:
            raise refuse(change, "price", "too_dear", f"is more than {dearest}")


@jobs.on("count_articles", "daily")
async def count_articles(job: Job) -> dict[str, int]:
    """How many articles there are."""
    counted = 0
    async with job.step("all") as moment:
        counted = len(await moment.list("sales.articles"))
    return {"articles": counted}


@events.on("sales.articles.created")
async def hear(_moment: Moment, found: list[Event]) -> None:
    """Remember what came."""
    HEARD.extend(str(event.changes["sku"][1]) for event in found)
