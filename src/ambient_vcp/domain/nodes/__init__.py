"""Machines that offer work: identity, telemetry, health, reputation, breakers."""
