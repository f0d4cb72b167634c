"""`asked`: does the task ask for this? A declared scope answers, or an estimate from the task's words."""
