"""How, one package per technology."""
