"""Recorded evidence, replayed under other policies."""
