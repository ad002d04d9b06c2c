"""What an installed package announces to pytest. The plugin itself may be loaded by its name too: it is loaded once."""

pytest_plugins = ["engine.testing.plugin"]
