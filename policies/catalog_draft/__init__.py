"""A first catalog from tool descriptions, for a person to correct: every proposal says why, and where it is unsure."""
