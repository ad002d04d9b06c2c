"""`python -m engine` is the `cxg` command, for a checkout that is not installed."""

from engine.cli import main

main()
