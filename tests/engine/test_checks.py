"""A bad example for every start-up rule; the bundled registry passes them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from sqlalchemy import Boolean, Column, DateTime, ForeignKey, Identity, Integer, MetaData, Numeric, String, Table, Uuid

from engine.checks import check_declarations
from engine.declared import CHECKS
from engine.entity import Computed, Entity, Frozen, Nested, Number, Owner, Period, RollUp, Virtual
from engine.errors import StartupFault
from engine.hooks import Change, Moment, Point, Rules
from engine.jobs import Jobs
from engine.load import load_registries
from engine.types import Scope


class Shop:
    """A small registry: plans, and whatever a test adds."""

    def __init__(self, **options: Any) -> None:
        self.metadata = MetaData()
        self.scopes = [Scope("shop", self.metadata, **options)]
        self.entities: list[Entity] = []
        self.rules: list[Rules] = []
        self.jobs: list[Jobs] = []

    def table(self, name: str, *columns: Column[Any], key: bool = True) -> Table:
        schema, _, own = name.rpartition(".")
        first = [Column("id", Uuid, primary_key=True)] if key else []
        return Table(own, self.metadata, *first, *columns, schema=schema or None)

    def entity(self, name: str, *columns: Column[Any], key: bool = True, **options: Any) -> Shop:
        """Add an entity; returns the shop, so that an example is one expression."""
        self.entities.append(Entity(self.table(name, *columns, key=key), **options))
        return self

    def plans(self, *columns: Column[Any], **options: Any) -> Shop:
        return self.entity("bill.plans", Column("code", String(9), nullable=False), *columns, **options)

    def faults(self) -> list[str]:
        """The faults that start-up reports, a line each."""
        try:
            check_declarations(self.scopes, self.entities, self.rules, self.jobs)
        except StartupFault as fault:
            return str(fault).splitlines()[1:]
        return []


def shop(**options: Any) -> Shop:
    return Shop(**options)


def with_circle() -> Shop:
    made = shop().plans(Column("a", Integer), Column("b", Integer))
    made.rules.append(Rules("shop/bill"))

    async def nothing(_moment: Moment, _changes: list[Change]) -> None: ...

    for reads, writes in (("a", "b"), ("b", "a")):
        made.rules[0].on(f"R-{reads}", "plans", Point.BEFORE_UPDATE, reads=reads, writes=writes)(nothing)
    return made


def with_child(**options: str) -> Shop:
    made = shop().plans(
        Column("total", Integer), read_only=["total"], rollups=[RollUp("total", "bill.lines", **options)]
    )
    columns = [Column("plan_id", Uuid, ForeignKey("bill.plans.id")), Column("code", String(9))]
    return made.entity("bill.lines", *columns, parent=("bill.plans", "plan_id"))


def with_formulas(*pairs: str) -> Shop:
    """Each pair is a column and what it reads."""
    computed = [Computed(*pair.split(), formula=int) for pair in pairs]
    return shop().plans(*(Column(pair.split()[0], Integer) for pair in pairs), computed=computed)


def with_scope(other: Scope) -> Shop:
    made = shop().plans()
    made.scopes.append(other)
    return made


def with_rule(entity: str) -> Shop:
    made = shop().plans()
    rules = Rules("shop/bill")

    @rules.on("R1", entity, Point.BEFORE_CREATE)
    async def nothing(_moment: Any, _changes: Any) -> None:
        """Bound, never run."""

    made.rules.append(rules)
    return made


def with_jobs(*names: str, scope: str = "shop", cadence: str = "daily", **options: Any) -> Shop:
    made = shop().plans()
    made.jobs.append(Jobs(scope))
    for name in names or ("sweep",):

        @made.jobs[0].on(name, cadence, **options)
        async def nothing(_job: Any) -> None:
            """Declared, never run."""

    return made


def shared_metadata() -> Shop:
    made = shop().plans()
    made.scopes.append(Scope("market", made.metadata))
    return made


def lines(*columns: Column[Any], **options: Any) -> Shop:
    """Plans that nest lines."""
    nested = [Nested("lines", "bill.lines")]
    return shop().plans(nested=nested).entity("bill.lines", *columns, **options)


def change_log(name: str, made: Shop, *columns: Column[Any]) -> Shop:
    texts = [Column(word, String(9), nullable=False) for word in ("domain", "entity", "action", "changes")]
    rest = [Column("occurred_at", DateTime(timezone=True), nullable=False), Column("entity_id", Uuid)]
    return made.entity(name, *texts, *rest, *columns, role="change_log")


def stranger() -> Shop:
    """An entity whose tables no scope knows."""
    made = shop().plans()
    made.scopes[0] = Scope("shop", MetaData())
    return made


class Example(NamedTuple):
    """A registry with one mistake, and words of the line that must report it."""

    number: str
    make: Callable[[], Shop]
    words: str


EXAMPLES = [
    Example("E001", lambda: shop().plans(search=["cod"]), "search names 'cod', which is no column; perhaps 'code'"),
    Example("E001", lambda: shop().plans(label="title"), "label names 'title'"),
    Example("E002", lambda: shop().plans(unique=["sku"]), "unique names 'sku'"),
    Example("E002", lambda: shop().plans(tree="parent_id"), "tree names 'parent_id'"),
    Example("E003", lambda: shop().plans(virtual=[Virtual("code", String())]), "'code' is a column as well"),
    Example(
        "E003", lambda: shop().plans(virtual=[Virtual("a", String()), Virtual("a", String())]), "'a' is declared twice"
    ),
    Example("E004", lambda: shop().plans(Column("net price", Integer)), "'net price' cannot be written in a filter"),
    Example("E004", lambda: shop().plans(Column("net", Integer, key="price")), "has the key 'price'"),
    Example("E005", lambda: shop().plans(Column("seats", Integer), search=["seats"]), "'seats', which is no text"),
    Example("E006", lambda: shop().plans(operations="cglx"), "operations has 'x'"),
    Example("E006", lambda: shop().plans(operations="cgc"), "operations has 'c' twice"),
    Example("E007", lambda: shop().plans(machine="draft open : draft>open"), "one initial state"),
    Example("E007", lambda: shop().plans(machine="draft* open : draft>opened"), "unknown: ['opened']"),
    Example("E008", lambda: shop().plans(machine="draft* open lost : draft>open"), "no edge leads to the state 'lost'"),
    Example("E008", lambda: shop().plans(machine=f"a* {'b' * 25} : a>{'b' * 25}"), "longer than 24"),
    Example("E009", lambda: shop().plans(nested=[Nested("lines", "bill.line")]), "nested names 'bill.line'"),
    Example("E009", lambda: shop().plans(parent=("sale.orders", "id")), "parent names 'sale.orders'"),
    Example("E010", lines, "nests bill.lines, which must say parent=('bill.plans'"),
    Example(
        "E011",
        lambda: lines(Column("plan_id", Uuid), parent=("bill.plans", "plan_id")),
        "'plan_id' does not refer to bill.plans",
    ),
    Example(
        "E012", lambda: shop().plans(Column("up", Uuid), tree="up"), "tree column 'up' does not refer to its own table"
    ),
    Example(
        "E012",
        lambda: shop().plans(Column("up", ForeignKey("bill.plans.id"), nullable=False), tree="up"),
        "tree column 'up' must be nullable",
    ),
    Example("E013", lambda: shop().plans(Column("age", sa.Interval)), "no scalar for column type Interval"),
    Example("E014", lambda: with_scope(Scope("The Shop", MetaData())), "'The Shop' cannot be a path segment"),
    Example("E014", lambda: with_scope(Scope("auth", MetaData())), "the server has routes of that name"),
    Example("E015", lambda: shop().entity("bill.Price List"), "'Price List' cannot be a path segment"),
    Example("E016", lambda: shop().entity("bill.a_b").entity("bill.a-b"), "shop/bill/a-b: two entities have this path"),
    Example("E017", lambda: with_scope(Scope("shop", MetaData())), "scope 'shop' is declared twice"),
    Example("E017", shared_metadata, "scopes shop, market share one MetaData"),
    Example("E018", stranger, "belongs to no Scope"),
    Example("E019", lambda: change_log("a.logs", change_log("b.logs", shop())), "2 entities with role='change_log'"),
    Example("E020", lambda: shop().plans(role="change_log"), "as change_log it needs the column 'entity_id'"),
    Example(
        "E020", lambda: change_log("a.logs", shop(), Column("why", String, nullable=False)), "no write fills 'why'"
    ),
    Example("E021", lambda: shop().plans(Column("number", String), number=Number("P")), "has role='number_sequences'"),
    Example(
        "E021", lambda: shop().plans(Column("number", String), number=Number("P", at="open")), "at='open' is neither"
    ),
    Example(
        "E022", lambda: with_rule("planz"), "'shop/bill/planz', which is not registered; perhaps 'shop/bill/plans'"
    ),
    Example(
        "E023", lambda: shop().plans(hidden=["code"], read_only=["code"], search=["code"]), "take it out of search"
    ),
    Example("E023", lambda: shop().plans(masked=["code"], label="code"), "take it out of label"),
    Example(
        "E024", lambda: shop().plans(Column("pin", Integer), encrypted=["pin"], hidden=["pin"]), "'pin' must be a text"
    ),
    Example("E024", lambda: shop().plans(encrypted=["code"]), "'code' must be hidden or masked too"),
    Example("E025", lambda: shop().plans(once=["code"], read_only=["code"]), "'code' is both once and read_only"),
    Example("E025", lambda: shop().plans(once=["code"], live=["code"]), "'code' is live, yet nobody may change it"),
    Example("E026", lambda: shop().entity("bill.plans", Column("id", Uuid), key=False), "id that is no primary key"),
    Example(
        "E026",
        lambda: shop().entity("a.b", Column("c", Integer, primary_key=True, nullable=True), key=False, label="c"),
        "'c' is nullable",
    ),
    Example(
        "E027",
        lambda: shop().plans(Column("rank", Integer, server_default="1")),
        "'rank' is nullable with a server default",
    ),
    Example("E028", lambda: shop().plans(hidden=["code"]), "hidden column 'code' is required at create"),
    Example("E029", lambda: shop(tenant_bound=True).plans(Column("tenant_id", Uuid)), "declares tenant_id"),
    Example(
        "E030",
        lambda: shop().plans(Column("user_id", ForeignKey("idam.users.id"))),
        "'idam.users.id', which is no table",
    ),
    Example("E031", lambda: shop().plans(Column("is_active", String(1))), "but the engine writes Boolean"),
    Example("E031", lambda: shop().plans(Column("updated_at", Boolean)), "'updated_at' is Boolean"),
    Example(
        "E032",
        lambda: shop().plans(Column("kind", sa.Enum("a", "b", native_enum=False), default="c")),
        "default 'c' of 'kind' is none of a, b",
    ),
    Example("E033", lambda: shop().plans(Column("no", Integer, Identity(always=True))), "'no' is GENERATED ALWAYS"),
    Example("E034", lambda: with_circle(), "rules wait for each other's columns: R-"),
    Example("E039", lambda: shop().plans(periods=[Period(("cod",), "code", "code")]), "periods names 'cod'"),
    Example("E039", lambda: shop().plans(guards={"cde": "x"}), "guards names 'cde', which is no column"),
    Example("E039", lambda: shop().plans(owner=Owner("usr", "x")), "owner names 'usr'"),
    Example("E040", lambda: shop().plans(machine="a* b : a>b", frozen=[Frozen("c")]), "frozen names the state 'c'"),
    Example("E040", lambda: shop().plans(machine="a* b : a>b", four_eyes={"b>a": "code"}), "names the edge 'b>a'"),
    Example("E040", lambda: shop().plans(stamps={"won": {"code": "now"}}), "stamps names the state 'won'"),
    Example("E041", lambda: shop().plans(rollups=[RollUp("code", "bill.lins")]), "rollups names 'bill.lins'"),
    Example("E041", lambda: with_child(sum="sum"), "rollups sums 'sum', which bill.lines does not have"),
    Example("E041", lambda: with_child(via="code"), "bill.lines does not refer to it by 'code'"),
    Example("E042", lambda: with_formulas("a b", "b a"), "computed columns wait for each other: "),
    Example("E042", lambda: with_formulas("a id"), "'a' is computed; list it in read_only"),
    Example("E043", lambda: shop().plans(periods=[Period((), "code", "code")]), "needs two dates or two timestamps"),
    Example("E035", lambda: with_jobs("sweep", "sweep"), "job 'sweep' is declared 2 times"),
    Example("E035", lambda: with_jobs("sweep it"), "job 'sweep it': a name has"),
    Example("E036", lambda: with_jobs(scope="shp"), "jobs of scope 'shp', which is not declared; scopes are shop"),
    Example("E037", lambda: with_jobs(cadence="weekly"), "job 'sweep', cadence 'weekly': a cron text has five fields"),
    Example("E037", lambda: with_jobs(cadence="0 0 31 2 *"), "cadence '0 0 31 2 *': Bad day-of-month"),
    Example("E037", lambda: with_jobs(timeout=0), "timeout 0 is not between"),
    Example("E038", lambda: with_jobs("a", "b", scheduler=True), "jobs a, b all say scheduler=True"),
]


def test_every_rule_has_a_bad_example() -> None:
    assert set(CHECKS) - {example.number for example in EXAMPLES} == set()


@pytest.mark.parametrize("example", [pytest.param(e, id=f"{e.number}-{i}") for i, e in enumerate(EXAMPLES)])
def test_a_bad_example_is_reported(example: Example) -> None:
    faults = example.make().faults()
    assert [line for line in faults if line.startswith(example.number + " ") and example.words in line], faults


def test_all_faults_are_reported_at_once() -> None:
    made = shop().plans(Column("age", sa.Interval), search=["nme"], operations="z", machine="a b")
    assert [line[:4] for line in made.faults()] == ["E001", "E006", "E007", "E013"]


def test_names_that_registration_will_add_are_known() -> None:
    made = shop().plans(Column("price", Numeric), once=["id"], read_only=["created_at", "status"], machine="a* b : a>b")
    assert made.faults() == []


def test_the_bundled_registry_passes() -> None:
    registry = load_registries(["registry"])
    assert len(registry.entities) >= 26
    check_declarations(registry.scopes, registry.entities, registry.rules, registry.jobs)
