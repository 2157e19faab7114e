"""Nodes: how they join, report and leave."""
