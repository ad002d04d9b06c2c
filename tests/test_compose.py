"""compose.yaml: its syntax, that every setting it names exists, and that no secret has a default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from engine.settings import Settings

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)


def test_two_databases_and_the_api_with_health_checks() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"manager", "tenants", "api"}
    assert all(service["healthcheck"]["test"] for service in services.values())
    assert set(services["api"]["depends_on"]) == {"manager", "tenants"}
    assert {services[name]["environment"]["POSTGRES_DB"] for name in ("manager", "tenants")} == {"manager", "tenants"}
    named = {mount.split(":")[0] for service in services.values() for mount in service["volumes"]}
    assert named == set(COMPOSE["volumes"])


def test_every_setting_exists_and_fits() -> None:
    given = COMPOSE["services"]["api"]["environment"]
    fields = {f"CXG_{name.upper()}": name for name in Settings.model_fields}
    assert set(given) - set(fields) == set()
    plain = {fields[name]: re.sub(r"\$\{\w+(?::[-?]([^}]*))?\}", r"\1", str(value)) for name, value in given.items()}
    settings = Settings(**plain)
    assert (settings.environment, settings.host, settings.port) == ("production", "0.0.0.0", 8000)


def test_no_password_has_a_default() -> None:
    secrets = re.findall(r"\$\{(\w*(?:PASSWORD|KEY)\w*)([^}]*)\}", TEXT)
    assert {name for name, _ in secrets} == {"MANAGER_PASSWORD", "TENANTS_PASSWORD", "ADMIN_PASSWORD", "SECRET_KEY"}
    assert all(rest.startswith(":?") for _, rest in secrets)
    assert "trust" not in TEXT


def test_the_image_copies_what_exists() -> None:
    build = COMPOSE["services"]["api"]["build"]["dockerfile_inline"]
    copied = re.findall(r"^COPY (\S+) ", build, re.MULTILINE)
    assert copied and all((ROOT / name).exists() for name in copied)
