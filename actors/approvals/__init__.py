"""Approvals of escalated actions, at the owner that escalated."""
