"""Password hashes with bcrypt, computed away from the event loop."""
