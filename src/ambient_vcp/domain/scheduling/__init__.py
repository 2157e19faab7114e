"""Which node gets which slot: filter, score, choose, explain."""
