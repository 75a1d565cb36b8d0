"""Hetzner Cloud's API v1, as its clients use it."""
