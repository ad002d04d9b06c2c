"""Who is calling: keys, tokens, passwords and secrets."""
