"""Stops: set and released at the control store, enforced by every owner."""
