"""Interactive demos of the task projects."""
