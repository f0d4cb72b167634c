"""What an agent has already done: formulas over the past, their monitors, and the state that they keep."""
