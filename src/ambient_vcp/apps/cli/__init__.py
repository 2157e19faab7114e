"""The command line `ambient-vcp`: a client, and the way to start the other programs."""
