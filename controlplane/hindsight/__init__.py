"""Recorded evidence looked at again: what other policies would have said, and why these said what they said."""
