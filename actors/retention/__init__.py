"""Retention: how long evidence is kept, what a legal hold keeps longer, and the runs that let the rest go."""
