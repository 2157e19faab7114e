"""One module a noun. Each is imported only when its noun is called."""
