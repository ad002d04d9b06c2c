"""People to call as, and a clock that can stand still."""

from tests.calls import freeze, world
from tests.registry.homes import home

__all__ = ["freeze", "home", "world"]
