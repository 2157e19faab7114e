"""The HTTP protocol's requests and answers (docs/protocol/http.md)."""
