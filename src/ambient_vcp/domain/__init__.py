"""What is true: types, rules and decisions. Pure: no I/O, no clock, no async."""
