"""The `controlplane` command: one file per group of commands."""
