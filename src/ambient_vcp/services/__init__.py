"""What we do: one use case per module. Load, decide, save."""
