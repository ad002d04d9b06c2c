"""`cxg export` and `cxg import`, as people call them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.commands.exchange import written
from engine.testing.harness import Live
from tests.engine.exchange.test_tables import book

WARES = "stall/stall/wares"


def cxg(live: Live, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """A finished command over the databases of the server."""
    place = ["--data", str(live.system.settings.data.resolve())]
    flags = ["--registry", "registry", "--registry", "tests.engine.exchange.stall"]
    whole = [sys.executable, "-m", "engine", *words, *place, *flags]
    return subprocess.run(whole, capture_output=True, text=True, check=False, timeout=120, input=given)


def test_out_of_one_tenant_and_into_another(stall: Live, tmp_path: Path) -> None:
    path, bad = tmp_path / "wares.csv", tmp_path / "bad.csv"
    owner = stall.client("stall")
    owner.post(f"/{WARES}", json=[{"title": f"c{i}", "code": f"CLI-{i}", "note": "=1"} for i in range(3)])
    where = ["--entity", WARES, "--tenant"]
    out = cxg(stall, "export", str(path), *where, "first", "--query", "filter[code][startswith]=CLI&sort=-code")
    assert out.returncode == 0, out.stderr
    assert path.read_text().count("'=1") == 3

    rehearsed = cxg(stall, "import", str(path), *where, "second", "--dry-run")
    assert "3 rows: 3 created, 0 updated, 0 do not fit; nothing stays" in rehearsed.stdout, rehearsed.stderr
    assert "left out, since an import does not give them: id, " in rehearsed.stdout
    assert cxg(stall, "import", str(path), *where, "second").returncode == 0
    again = cxg(stall, "import", str(path), *where, "second", "--upsert", "code")
    assert "3 rows: 0 created, 3 updated, 0 do not fit\n" in again.stdout
    rows = stall.other_tenant().get(f"/{WARES}?filter[code][startswith]=CLI").json()["data"]["items"]
    assert sorted((row["code"], row["note"]) for row in rows) == [(f"CLI-{i}", "=1") for i in range(3)]

    bad.write_text("Name,code\nx,CLI-0\ny,CLI-9\n")
    refused = cxg(stall, "import", str(bad), *where, "second", "--map", "Name=title")
    assert refused.returncode == 1 and "1 do not fit; nothing stays" in refused.stdout
    assert "duplicate" in refused.stderr
    mixed = cxg(stall, "import", str(bad), *where, "second", "--map", "Name=title", "--each")
    assert mixed.returncode == 1 and "2 rows: 1 created, 0 updated, 1 do not fit\n" in mixed.stdout


def test_what_is_wrong_is_said(stall: Live, tmp_path: Path) -> None:
    path = tmp_path / "wares.csv"
    path.write_text("title\na\n")
    for words, text in (
        (["--entity", "stall/stall/ware", "--tenant", "first"], "perhaps 'stall/stall/wares'"),
        (["--entity", WARES], "--tenant says to which"),
        (["--entity", WARES, "--tenant", "nobody"], "there is no tenant 'nobody'"),
        (["--entity", WARES, "--tenant", "first", "--map", "title"], "--map takes"),
        (["--entity", WARES, "--tenant", "first", "--map", "title=none"], "is no field"),
    ):
        done = cxg(stall, "import", str(path), *words)
        assert done.returncode == 1 and text in " ".join(done.stderr.split()), done.stderr


def test_to_the_standard_output(stall: Live) -> None:
    stall.client("stall").post(f"/{WARES}", json={"title": "out"})
    done = cxg(
        stall, "export", "-", "--entity", WARES, "--tenant", "first", "--format", "ndjson", "--query", "fields=title"
    )
    assert done.returncode == 0, done.stderr
    assert {"title": "out"} in [json.loads(line) for line in done.stdout.splitlines()]
    # what is said to people goes elsewhere
    assert "first" not in done.stdout and done.stdout.endswith("}\n")


def test_from_the_standard_input(stall: Live) -> None:
    where = ["--entity", WARES, "--tenant", "second"]
    done = cxg(stall, "import", "-", *where, "--format", "csv", given="title,code\npiped,PIPE-1\n")
    assert "1 rows: 1 created, 0 updated, 0 do not fit\n" in done.stdout, done.stderr
    found = stall.other_tenant().get(f"/{WARES}?filter[code]=PIPE-1").json()["data"]["items"]
    assert [row["title"] for row in found] == ["piped"]
    unsaid = cxg(stall, "import", "-", *where, given="title\na\n")
    assert unsaid.returncode == 1 and "--format says what '-' is" in " ".join(unsaid.stderr.split())
    misspelt = cxg(stall, "export", "--tenent", "--entity", WARES)
    assert misspelt.returncode != 0 and "--tenent" in misspelt.stderr


def test_the_help_has_examples(stall: Live) -> None:
    for command in ("export", "import"):
        done = cxg(stall, command, "--help")
        assert done.returncode == 0 and f"cxg {command} - --entity" in done.stdout and "standard" in done.stdout


def test_as_of_a_moment(stall: Live, tmp_path: Path) -> None:
    client = stall.client("stall")
    row = client.post(f"/{WARES}", json={"title": "before"}).json()["data"]
    assert client.patch(f"/{WARES}/{row['id']}", json={"title": "after"}).status_code == 200
    query = f"as_of={row['updated_at'].replace('+', '%2B')}&filter[id]={row['id']}&fields=title"
    path = tmp_path / "then.csv"
    done = cxg(stall, "export", str(path), "--entity", WARES, "--tenant", "first", "--query", query)
    assert done.returncode == 0 and path.read_text().splitlines() == ["title", '"before"'], done.stderr


def test_groups_are_not_exported(stall: Live, tmp_path: Path) -> None:
    where = ["--entity", WARES, "--tenant", "first", "--query", "aggregate=count()"]
    done = cxg(stall, "export", str(tmp_path / "wares.csv"), *where)
    assert done.returncode == 1 and "ask the list for groups" in " ".join(done.stderr.split()), done.stderr


@pytest.mark.parametrize("there", ["as it was\n", None])
def test_a_failed_export_leaves_what_is_there(stall: Live, tmp_path: Path, there: str | None) -> None:
    stall.client("stall").post(f"/{WARES}", json={"title": "much", "note": "x" * 40_000})
    where = ["--entity", WARES, "--tenant", "first"]
    for name, query, word in (("a.csv", "filter[nme]=x", "filter[nme]"), ("a.xlsx", "filter[title]=much", "32767")):
        path = tmp_path / name
        if there is not None:
            path.write_text(there)
        done = cxg(stall, "export", str(path), *where, "--query", query)
        assert done.returncode == 1 and word in " ".join(done.stderr.split()), done.stderr
        assert (path.read_text() if path.exists() else None) == there
    assert len(list(tmp_path.iterdir())) == (0 if there is None else 2)


def test_a_file_is_replaced_at_the_end(tmp_path: Path) -> None:
    path, link = tmp_path / "a.csv", tmp_path / "link.csv"
    path.write_text("before")
    path.chmod(0o640)
    link.symlink_to(path)
    with pytest.raises(KeyboardInterrupt), written(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_text() == "before" and set(tmp_path.iterdir()) == {path, link}
    with written(link) as file:
        file.write(b"after")
        assert path.read_text() == "before"
    assert path.read_text() == "after" and link.is_symlink() and path.stat().st_mode & 0o777 == 0o640
    assert set(tmp_path.iterdir()) == {path, link}
    with written(Path("/dev/null")) as file:
        file.write(b"gone")


def test_text_of_others_is_no_markup(stall: Live, tmp_path: Path) -> None:
    path = tmp_path / "[bold]wares.csv"
    path.write_text("[/foo],title\n1,a\n")
    where = ["--entity", WARES, "--tenant", "first"]
    titled = cxg(stall, "import", str(path), *where)
    assert titled.returncode == 1 and "map[[/foo]]=field" in " ".join(titled.stderr.split()), titled.stderr
    asked = cxg(stall, "export", str(tmp_path / "a.csv"), *where, "--query", "filter[[/x]]=x")
    assert asked.returncode == 1 and "Traceback" not in asked.stderr and "filter[[/x]]" in asked.stderr, asked.stderr
    path.write_text("title,amount\n[/a],[/b]\n")
    rows = cxg(stall, "import", str(path), *where, "--map", "[/foo]=title")
    assert rows.returncode == 1 and "map[[/foo]]" in rows.stderr, rows.stderr
    path.write_text("title,kind\na,:smile:[/b]\n")
    faulty = cxg(stall, "import", str(path), *where)
    assert faulty.returncode == 1 and "invalid_choice" in faulty.stderr, faulty.stderr
    entity = cxg(stall, "export", "a.csv", "--entity", "[/x]")
    assert "no entity is called '[/x]'" in " ".join(entity.stderr.split()), entity.stderr


def test_a_file_that_is_missing(stall: Live, tmp_path: Path) -> None:
    where = ["--entity", WARES, "--tenant", "first"]
    done = cxg(stall, "import", str(tmp_path / "nowhere.csv"), *where)
    told = "".join(done.stderr.split())
    assert done.returncode == 1 and "nowhere.csv:Nosuchfileordirectory" in told and "database" not in told, done.stderr


def test_an_entity_without_an_import(stall: Live, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("action\ncreate\n")
    log = stall.catalog.roles["stall", "change_log"].path
    done = cxg(stall, "import", str(path), "--entity", log, "--tenant", "first")
    assert done.returncode == 1 and f"{log} has no import" in " ".join(done.stderr.split()), done.stderr


def test_one_sheet_of_several(stall: Live, tmp_path: Path) -> None:
    path = tmp_path / "two.xlsx"
    path.write_bytes(book(one=[["title", "code"], ["a", "SHEET-1"]], two=[["title", "code"], ["b", "SHEET-2"]]))
    where = ["--entity", WARES, "--tenant", "second"]
    unsaid = cxg(stall, "import", str(path), *where)
    assert unsaid.returncode == 1 and "--sheet" in unsaid.stderr and "one, two" in " ".join(unsaid.stderr.split())
    assert cxg(stall, "import", str(path), *where, "--sheet", "two").returncode == 0
    found = stall.other_tenant().get(f"/{WARES}?filter[code][startswith]=SHEET").json()["data"]["items"]
    assert [row["code"] for row in found] == ["SHEET-2"]
    other = cxg(stall, "import", "-", *where, "--format", "csv", "--sheet", "two", given="title\na\n")
    assert other.returncode == 1 and "--sheet is for workbooks" in " ".join(other.stderr.split())
