"""People to call as, and a clock that can stand still."""

from tests.calls import freeze, world

__all__ = ["freeze", "world"]
