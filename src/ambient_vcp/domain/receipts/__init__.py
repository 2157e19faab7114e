"""The checkable record of a finished task, and how to check it."""
