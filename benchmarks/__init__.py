"""One runnable module per group of figures; every figure with its target and, if any, its peers."""
