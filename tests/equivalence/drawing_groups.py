"""Random grouped lists and facets of the market, and the query strings that ask the engine for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st

from tests.equivalence.asking import SEVERAL, query_string
from tests.equivalence.drawing import NEEDLES, POOL, SELLERS, asked_of, key, queries
from tests.equivalence.groups import DAYS, FUNCTIONS, GROUPED, Asked, By, Grouped, Key, Made, Path, end_of, kinds
from tests.equivalence.model import COLUMNS, RELATIONS, TAKES, TEXT, Leaf, Query, written

LIKE = {"whole": "bigint", "mean": "numeric", "masked": "text", "list": "text"}


@st.composite
def paths(draw: st.DrawFn, entity: str, among: tuple[str, ...]) -> Path:
    """A path through to-one relations to a column of one of the kinds; empty where there is none."""
    path: Path = ()
    while len(path) < 2 and draw(st.integers(0, 3)) == 0:
        steps = sorted(name for name, relation in RELATIONS[entity].items() if not relation.many)
        if not steps:
            break
        step = draw(st.sampled_from(steps))
        path, entity = (*path, step), RELATIONS[entity][step].target
    names = [name for name, kind in COLUMNS[entity].items() if kind in among and name != "id"]
    # masked ones are for few, so that most questions are answered
    names = [n for n in names if COLUMNS[entity][n] != "masked" or draw(st.integers(0, 4)) == 0]
    return (*path, draw(st.sampled_from(names))) if names else ()


@st.composite
def _wide(draw: st.DrawFn) -> Query:
    """A list, most often of many rows: few of them are no groups."""
    query = replace(draw(queries()), entity="shop/buyers") if draw(st.booleans()) else draw(queries())
    if query.entity == "shop/buyers" or draw(st.integers(0, 3)):
        query = replace(query, where=None, filters=(), sort=(), fields=(), expand=(), q=None)
    deleted = draw(st.sampled_from(("exclude", "include", "include", "only")))
    return replace(query, deleted=deleted, page=1 if draw(st.integers(0, 5)) else 2)


@st.composite
def grouped(draw: st.DrawFn) -> Grouped:
    """A grouped list of any entity."""
    query = replace(draw(_wide()), sort=(), fields=(), expand=())
    made: dict[str, Made] = {}
    for place in range(draw(st.integers(1, 3))):
        function = draw(st.sampled_from(sorted(FUNCTIONS)))
        path = () if function == "count" and draw(st.booleans()) else draw(paths(query.entity, FUNCTIONS[function]))
        if path or function == "count":
            usual = "_".join((function, *path))
            name = usual if usual not in made and draw(st.booleans()) else f"r{place}"
            made[name] = Made(name, function, path)
    made = made or {"count": Made("count", "count", ())}
    found: dict[str, Key] = {}
    for place in range(draw(st.integers(0, 2))):
        among = draw(st.sampled_from((GROUPED, GROUPED, ("date", "moment"))))
        if path := draw(paths(query.entity, among)):
            part = draw(_parts(end_of(query.entity, path)[1]))
            usual = "_".join((part, *path)) if part else ".".join(path)
            name = usual if usual not in found and draw(st.booleans()) else f"k{place}"
            found[name] = Key(name, path, part)
    asked = Grouped(query, tuple(made.values()), tuple(found.values()))
    having = tuple(draw(_having(asked)) for _ in range(draw(st.sampled_from((0, 0, 1, 2)))))
    once = tuple({(one.name, one.op): one for one in having}.values())
    return replace(asked, having=once, sort=draw(_sorts(asked)))


def _parts(kind: str) -> st.SearchStrategy[str]:
    known = {"date": DAYS, "moment": (*DAYS, "hour")}.get(kind, ())
    return st.sampled_from(("", *known, *known))


@st.composite
def _having(draw: st.DrawFn, asked: Grouped) -> Asked:
    known = kinds(asked)
    name = draw(st.sampled_from(sorted(known)))
    kind = LIKE.get(known[name], known[name])
    op = draw(st.sampled_from((*TAKES[kind], "isnull")))
    return Asked(name, op, draw(_value(known[name], op)))


def _value(kind: str, op: str) -> st.SearchStrategy[Any]:
    pool: tuple[Any, ...] = POOL.get(kind, ()) or POOL.get(LIKE.get(kind, kind), ())
    pool = (*SELLERS, *(key(entity, 0) for entity in COLUMNS)) if kind == "uuid" else pool
    one = st.sampled_from([value for value in pool if "," not in str(value)])
    one = st.integers(0, 3) if kind == "int" else one
    if op == "isnull":
        return st.booleans()
    if op in TEXT:
        return st.sampled_from(NEEDLES)
    if op in ("in", "nin"):
        return st.lists(one, min_size=1, max_size=3).map(tuple)
    return st.tuples(one, one) if op == "between" else one


@st.composite
def _sorts(draw: st.DrawFn, asked: Grouped) -> tuple[By, ...]:
    names = draw(st.lists(st.sampled_from(sorted(kinds(asked))), max_size=2, unique=True))
    return tuple(By(n, draw(st.booleans()), draw(st.sampled_from((None, None, "first", "last")))) for n in names)


@st.composite
def facets(draw: st.DrawFn) -> tuple[Query, tuple[Path, ...]]:
    """A list, and the columns whose values are counted beside it; half of those have a condition of their own."""
    query = draw(_wide())
    found = [draw(paths(query.entity, GROUPED)) for _ in range(draw(st.integers(1, 3)))]
    found = list(dict.fromkeys(path for path in found if path)) or [("version",)]
    own: list[Leaf] = []
    for path in found:
        entity, kind = end_of(query.entity, path)
        if kind not in ("masked", "tenant") and draw(st.booleans()):
            op = draw(st.sampled_from(("eq", "ne", "in", "nin", "isnull")))
            own.append(Leaf(path, op, draw(asked_of(entity, path[-1], op))))
    if own and draw(st.integers(0, 4)) == 0:
        return replace(query, where=own[0], filters=tuple(own[1:])), tuple(found)
    # one condition of an operator and a path: whoever says it twice is refused
    once = {(leaf.path, leaf.op): leaf for leaf in (*query.filters, *own)}
    return replace(query, filters=tuple(once.values())), tuple(found)


# -- as the query string says it


def group_string(asked: Grouped) -> str:
    """The parameters of a grouped list."""
    terms = [f"{_called(m.name, '_'.join((m.function, *m.path)))}{m.function}({'.'.join(m.path)})" for m in asked.made]
    given = [("aggregate", ",".join(terms))]
    if asked.keys:
        given.append(("group", ",".join(map(_key, asked.keys))))
    for one in asked.having:
        value = ",".join(map(written, one.value)) if one.op in SEVERAL else written(one.value)
        given.append((f"having[{one.name}][{one.op}]", value))
    if asked.sort:
        keys = (
            f"{'-' if by.descending else ''}{by.name}{f':nulls{by.nulls}' if by.nulls else ''}" for by in asked.sort
        )
        given.append(("sort", ",".join(keys)))
    return f"{query_string(asked.rows)}&{urlencode(given, quote_via=quote)}"


def _key(asked: Key) -> str:
    path = ".".join(asked.path)
    if not asked.part:
        return f"{_called(asked.name, path)}{path}"
    return f"{_called(asked.name, '_'.join((asked.part, *asked.path)))}{asked.part}({path})"


def _called(name: str, usual: str) -> str:
    return "" if name == usual else f"{name}:"


def facet_string(query: Query, asked: tuple[Path, ...]) -> str:
    """The parameters of a list with facets."""
    return f"{query_string(query)}&facets={','.join('.'.join(path) for path in asked)}"
