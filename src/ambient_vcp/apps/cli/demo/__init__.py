"""The demonstration: real processes, real work, and a check of every claim that is made."""
