"""One run inside a cell: engine, memory, host functions, fuel."""
