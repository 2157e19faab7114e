"""What we need from outside: small Protocols whose docstrings are the specification."""
