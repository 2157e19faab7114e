"""Access tokens as JSON Web Tokens, signed with Ed25519."""
