"""The control plane: the API, the loops behind it, and how they are put together."""
