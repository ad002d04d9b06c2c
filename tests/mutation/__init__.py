"""Rules switched off one at a time: `python -m tests.mutation` shows that some test notices each."""
