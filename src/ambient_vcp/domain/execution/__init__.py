"""How one run of a guest is asked for, limited and recorded."""
