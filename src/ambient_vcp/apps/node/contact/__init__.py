"""Talking to the control plane: enrolment, tokens, heartbeats, events, bandwidth."""
