"""Scaler: exactly N servers from a snapshot, on Hetzner Cloud and DigitalOcean."""

__version__ = "0.1.0"
