"""Blobs by SHA-256 in an object store, and the staging area of resumable uploads."""
