"""The test kit: a live server over a throw-away PostgreSQL, bodies drawn from metadata, and the contract that every
entity must pass. Users of the engine import it for their own registries."""
