"""Groups of the `cxg` command, a file each; `engine.cli` gathers them."""
