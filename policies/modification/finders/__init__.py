"""What `redact` finds in a text, one kind a module. A finder gives stretches, `(start, end)`."""
