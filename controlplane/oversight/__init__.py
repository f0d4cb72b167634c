"""What oversight by people costs, and whether they look."""
