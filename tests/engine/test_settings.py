"""Settings: their sources, and that mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.settings import Settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a cxg.toml of anybody's."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_any_source_there_are_defaults() -> None:
    settings = Settings()
    assert (settings.registries, settings.port, settings.environment) == (["registry"], 8000, "development")
    assert settings.manager_url is None and settings.bcrypt_rounds == 12


def test_the_environment_wins_over_the_file(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "cxg.toml").write_text('port = 9000\nworkers = 3\nregistries = ["mine"]\n')
    monkeypatch.setenv("CXG_PORT", "9001")
    settings = Settings()
    assert (settings.port, settings.workers, settings.registries) == (9001, 3, ["mine"])
    assert Settings(port=9002).port == 9002


def test_an_unknown_key_of_the_file_is_named(elsewhere: Path) -> None:
    (elsewhere / "cxg.toml").write_text("prot = 9000\n")
    with pytest.raises(ValidationError, match="prot"):
        Settings()


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "70000"), ("WORKERS", "0"), ("POOLER", "session"), ("ENVIRONMENT", "test")]
)
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"CXG_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXG_ADMIN_PASSWORD", "very-secret-1")
    monkeypatch.setenv("CXG_MANAGER_URL", "postgresql://me:very-secret-1@db/x")
    settings = Settings()
    assert "very-secret-1" not in repr(settings) and settings.admin_password is not None
    assert settings.admin_password.get_secret_value() == "very-secret-1"


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
