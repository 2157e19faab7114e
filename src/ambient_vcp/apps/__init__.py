"""What you start: settings, wiring, entry points. Nothing here is reused."""
