"""The floor, a hand-written FastAPI module and this engine over one table, measured in turn.

`python -m tests.benchmarks --help`."""
