"""Profiles: which control plane to use, as whom, and whose signatures to trust; one file each."""
