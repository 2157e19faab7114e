"""What we say: message shapes, and their translation to domain values."""
