"""What `modify` does to an action's arguments: operations at JSON pointers, and the finders of `redact`."""
