"""Work that is asked for: specification, lifecycle, type policy."""
