"""What another bundle would have said to recorded actions, as far as what was recorded decides it."""
