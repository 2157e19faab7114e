"""Builders, proven fakes and the simulated cluster; shipped for extension authors."""
