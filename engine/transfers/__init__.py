"""Imports and exports that go on after their answer: what is known of each, where its file waits, and who carries it out."""
