"""The two engines: connections, transactions, clocks, faults, migration."""
