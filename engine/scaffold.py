"""Writes the first lines of an entity into a package: its model, its declaration and a test. Never over what is there."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from typing import NamedTuple

from engine.errors import StartupFault

WIDTH = 88
WORD = re.compile(r"[a-z][a-z0-9_]*").fullmatch
SEGMENT = re.compile(r"[a-z][a-z0-9-]*").fullmatch
# what registration adds to every table, and what SQLAlchemy needs for itself
TAKEN = frozenset(
    [
        "id",
        "is_active",
        "version",
        "created_at",
        "updated_at",
        "created_by",
        "updated_by",
        "tenant_id",
        "metadata",
        "registry",
    ]
)
LABELS = ("name", "title", "subject", "label", "number", "code", "sku", "slug", "key", "email")
DEFAULT = ("code:code", "name:name")
FORMATTED = ["Code", "Slug", "Key", "Name", "Text", "Email", "Phone", "Url", "Ip", "Country", "Currency"]
AMOUNTS = ["Money", "Price", "Quantity", "Percent", "Rate", "Json", "Strings"]
# word of `--column` -> annotation, and the module that has it (None = built in)
TYPES: dict[str, tuple[str, str | None]] = {
    **{name.lower(): (name, "engine") for name in [*FORMATTED, *AMOUNTS]},
    "timezone": ("TimeZone", "engine"),
    "bigint": ("BigInt", "engine"),
    "smallint": ("SmallInt", "engine"),
    "address": ("PostalAddress", "engine"),
    "int": ("int", None),
    "float": ("float", None),
    "bool": ("bool", None),
    "date": ("date", "datetime"),
    "time": ("time", "datetime"),
    "datetime": ("datetime", "datetime"),
    "uuid": ("UUID", "uuid"),
}
KEYS, SEARCHED = ("code", "slug", "key"), ("code", "slug", "key", "name", "text", "email", "phone")
Import = tuple[str, str]


class Target(NamedTuple):
    """`shop.sales.order-lines`, taken apart."""

    package: str
    domain: str
    name: str

    @property
    def table(self) -> str:
        """`sales.order_lines`."""
        return f"{self.domain}.{self.variable}"

    @property
    def variable(self) -> str:
        """`order_lines`."""
        return self.name.replace("-", "_")

    @property
    def model(self) -> str:
        """`OrderLine`."""
        *first, last = self.variable.split("_")
        return "".join(word.capitalize() for word in (*first, singular(last)))


@dataclass(frozen=True)
class Column:
    """A line of the model."""

    name: str
    word: str
    line: str
    imports: tuple[Import, ...]


class Base(NamedTuple):
    """What the package brings: the base of its models, the module it is in, and its scope."""

    model: str
    module: str
    scope: str


def singular(word: str) -> str:
    """One of them, as far as a rule can say."""
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("ss", "ss")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + instead
    return word[:-1] if word.endswith("s") and len(word) > 2 else word


def read_target(text: str) -> Target:
    """`package.domain.entity`. StartupFault says what does not fit."""
    parts = text.split(".")
    if len(parts) != 3 or not WORD(parts[0]) or not WORD(parts[1]) or not SEGMENT(parts[2].replace("_", "-")):
        raise StartupFault(f"{text!r} is no package.domain.entity, such as shop.sales.orders, in lower case")
    target = Target(parts[0], parts[1], parts[2].replace("_", "-"))
    if reserved := [part for part in (*parts[:2], target.variable) if iskeyword(part)]:
        raise StartupFault(f"{reserved[0]!r} is a word of Python; choose another")
    return target


def read_column(text: str) -> Column:
    """`name:type`, `type?` = may be null, `a|b|c` = one of these, `customer:crm.customers` = a reference."""
    name, _, word = text.partition(":")
    empty, word = word.endswith("?"), word.removesuffix("?")
    if not WORD(name) or iskeyword(name) or name in TAKEN:
        raise StartupFault(
            f"{name!r} cannot be a column here: a lower-case word that neither Python nor the engine has"
        )
    if re.fullmatch(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*", word):
        name = name if name.endswith("_id") else f"{name}_id"
        used: tuple[Import, ...] = (("uuid", "UUID"), ("engine", "reference"))
        return Column(name, "reference", f'{name}: Mapped[{_kind("UUID", empty)}] = reference("{word}")', used)
    if "|" in word and all(WORD(choice) for choice in word.split("|")):
        kind = _kind(f"Literal[{_quoted(word.split('|'))}]", empty)
        return Column(name, "choice", f"{name}: Mapped[{kind}]", (("typing", "Literal"),))
    if word not in TYPES:
        raise StartupFault(
            f"{text!r}: a type is {', '.join(TYPES)}, a list of choices a|b, or a table such as crm.customers"
        )
    annotation, module = TYPES[word]
    if annotation == name:
        raise StartupFault(f"a column {name!r} would hide the type of that name; call it {name}_on or the like")
    return Column(name, word, f"{name}: Mapped[{_kind(annotation, empty)}]", ((module, annotation),) if module else ())


def _kind(annotation: str, empty: bool) -> str:
    return f"{annotation} | None" if empty else annotation


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def write_entity(folder: Path, target: Target, columns: Sequence[Column]) -> dict[Path, str]:
    """The files to write, by path; what is in them already stays. StartupFault where the entity is there, or has no place."""
    root = folder / target.package
    made: dict[Path, str] = {}
    if not root.exists() and find_spec(target.package) is not None:
        raise StartupFault(
            f"{target.package!r} is installed already, and would hide a package here; choose another name"
        )
    if root.exists():
        _refuse_twice(root, target)
        base = find_base(root)
    else:
        base = Base(f"{_camel(target.package)}Model", target.package, target.package)
        made[root / "__init__.py"] = package_text(base)
    file = root / f"{target.domain}.py"
    file = file if file.exists() or not (root / target.domain).is_dir() else root / target.domain / "__init__.py"
    present = file.read_text("utf-8") if file.exists() else f'"""{target.domain.replace("_", " ").capitalize()}."""\n'
    made[file] = _with_entity(present, target, base, columns)
    test = folder / "tests" / f"test_{target.package}_{target.domain}_{target.variable}.py"
    if test.exists():
        raise StartupFault(f"{test} is there already; nothing was written")
    made[test] = test_text(target, base)
    return made


def write_hooks(folder: Path, target: Target) -> dict[Path, str]:
    """The file of a domain's rules, with one rule of an entity."""
    root = folder / target.package
    file = root / f"{target.domain}_hooks.py"
    if not root.is_dir():
        raise StartupFault(f"there is no package {root}; `cxg new entity {'.'.join(target)}` makes it")
    if file.exists():
        raise StartupFault(f"{file} is there already; nothing was written")
    return {file: hooks_text(target, find_base(root))}


def find_base(root: Path) -> Base:
    """The base of a package's models, and its scope."""
    models: list[tuple[str, str]] = []
    scopes: list[str] = []
    for path in sorted(root.rglob("*.py"), key=lambda path: (len(path.parts), path)):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and any(k.arg == "abstract" for k in node.keywords):
                inner = path.relative_to(root.parent).with_suffix("").parts
                models.append((node.name, ".".join(part for part in inner if part != "__init__")))
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Scope" and node.args:
                scopes += [str(node.args[0].value)] if isinstance(node.args[0], ast.Constant) else []
    if not models or not scopes:
        raise StartupFault(
            f"{root} has no base of models and no Scope; begin it with\n"
            f"{package_text(Base(f'{_camel(root.name)}Model', root.name, root.name))}"
        )
    return Base(*models[0], scopes[0])


def _refuse_twice(root: Path, target: Target) -> None:
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and any(
                k.arg == "table" and isinstance(k.value, ast.Constant) and k.value.value == target.table
                for k in node.keywords
            ):
                raise StartupFault(f"{path} has the table {target.table} already; nothing was written")


def _camel(text: str) -> str:
    return "".join(part.capitalize() for part in text.split("_"))


# -- texts


def package_text(base: Base) -> str:
    """A new package: its base, its scope with a database of its own."""
    return f'''"""The package {base.module}: its scope, and the base of its models."""

from engine import Model, Scope


class {base.model}(Model, abstract=True):
    """Base of the models of the scope `{base.scope}`."""


scopes = [Scope("{base.scope}", {base.model}.metadata, database="{base.scope}")]
'''


def test_text(target: Target, base: Base) -> str:
    """A test that asks the entity everything that the contract asks."""
    path = f"{base.scope}/{target.domain}/{target.name}"
    return f'''"""{path}: served, and as the contract wants it."""

from pathlib import Path

from engine.testing.contract import broken, contract_cases
from engine.testing.harness import serving, settings_for_tests

PATH = "{path}"


def test_{target.variable}_keep_the_contract(tmp_path: Path) -> None:
    with serving(settings_for_tests(tmp_path), ["{target.package}"]) as live:
        every = contract_cases(live.catalog)
        cases = [(path, name) for path, name in every if path == PATH]
        assert cases and list(broken(live, cases)) == []
'''


def hooks_text(target: Target, base: Base) -> str:
    """A rule that changes nothing yet."""
    return f'''"""Rules of {target.domain}."""

from engine import Change, Moment, Point, Rules

rules = Rules("{base.scope}/{target.domain}")


@rules.on("{target.domain.upper()}-1", "{target.name}", Point.BEFORE_CREATE, Point.BEFORE_UPDATE)
async def look_at_{target.variable}(moment: Moment, changes: list[Change]) -> None:
    """Before rows are created or changed; `raise refuse(change, field, code, text)`."""
    for change in changes:
        assert change.values is not None
'''


def _with_entity(present: str, target: Target, base: Base, columns: Sequence[Column]) -> str:
    tree = ast.parse(present)
    known = {alias.asname or alias.name for node in tree.body for alias in getattr(node, "names", ())}
    known |= {getattr(node, "name", "") for node in tree.body}
    model = target.model if target.model not in {*known, *(name for c in columns for _, name in c.imports)} else ""
    model = model or f"{target.model}Row"
    imports: list[Import] = [("sqlalchemy.orm", "Mapped"), ("engine", "Entity"), (base.module, base.model)]
    imports += [used for column in columns for used in column.imports]
    text = _with_imports(
        present, tree, [used for used in dict.fromkeys(imports) if used[1] not in known], target.package
    )
    lines = "\n".join(f"    {column.line}" for column in columns)
    heading = f'class {model}({base.model}, table="{target.table}"):\n    """{_title(model)}."""\n\n{lines}\n'
    return f"{text.rstrip()}\n\n\n{heading}\n\n{_declaration(target, model, columns)}\n"


def _title(model: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", model).capitalize()


def _declaration(target: Target, model: str, columns: Sequence[Column]) -> str:
    names = [column.name for column in columns]
    texts = [c.name for c in columns if c.word in SEARCHED]
    label = next((name for name in LABELS if name in names), texts[0] if texts else "")
    options = [model, *([f'label="{label}"'] if label else [])]
    for option, chosen in (("unique", [c.name for c in columns if c.word in KEYS]), ("search", texts[:4])):
        options += [f"{option}=[{_quoted(chosen)}]"] if chosen else []
    line = f"{target.variable} = Entity({', '.join(options)})"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{target.variable} = Entity(", *(f"    {option}," for option in options), ")"])


# -- imports


def _with_imports(present: str, tree: ast.Module, wanted: Sequence[Import], package: str) -> str:
    """The text with more imports: the block at its top anew and in order; one with comments in it is left, and added to."""
    nodes = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    lines = present.splitlines()
    block = [node for node in nodes if isinstance(node, ast.ImportFrom) and not node.level and node.module]
    plain = [node for node in nodes if isinstance(node, ast.Import)]
    start = min((node.lineno for node in nodes), default=_after_docstring(tree) + 1)
    end = max((node.end_lineno or node.lineno for node in nodes), default=start - 1)
    between = lines[start - 1 : end]
    whole = len(block) + len(plain) == len(nodes) and not any("#" in line for line in between)
    whole = whole and all(node in nodes for node in tree.body if start <= node.lineno <= end)
    if not whole:
        return "\n".join([*lines[:end], *_rendered(_grouped([], wanted), [], package), *lines[end:]])
    rendered = _rendered(_grouped(block, wanted), [ast.unparse(node) for node in plain], package)
    head = [*lines[: start - 1], *([] if nodes or not lines[: start - 1] else [""])]
    return "\n".join([*head, *rendered, *lines[end:]])


def _after_docstring(tree: ast.Module) -> int:
    first = tree.body[0] if tree.body else None
    return (first.end_lineno or 0) if isinstance(first, ast.Expr) else 0


def _grouped(nodes: Iterable[ast.ImportFrom], wanted: Iterable[Import]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for node in nodes:
        found.setdefault(node.module or "", set()).update(
            f"{alias.name} as {alias.asname}" if alias.asname else alias.name for alias in node.names
        )
    for module, name in wanted:
        found.setdefault(module, set()).add(name)
    return found


def _rendered(named: Mapping[str, set[str]], plain: Sequence[str], package: str) -> list[str]:
    """The import statements in sections: future, standard library, installed, own."""
    sections: dict[int, list[tuple[tuple[bool, str], str]]] = {}
    for line in plain:
        module = line.split()[1].rstrip(",")
        sections.setdefault(_section(module, package), []).append(((False, module.lower()), line))
    for module, names in named.items():
        ordered = sorted(names, key=lambda name: (_rank(name), name.lower()))
        line = f"from {module} import {', '.join(ordered)}"
        if len(line) > WIDTH:
            line = "\n".join([f"from {module} import (", *(f"    {name}," for name in ordered), ")"])
        sections.setdefault(_section(module, package), []).append(((True, module.lower()), line))
    blocks = ["\n".join(line for _, line in sorted(sections[number])) for number in sorted(sections)]
    return "\n\n".join(blocks).splitlines()


def _rank(name: str) -> int:
    return 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2


def _section(module: str, package: str) -> int:
    top = module.split(".")[0]
    return 0 if top == "__future__" else 1 if top in sys.stdlib_module_names else 3 if top == package else 2
