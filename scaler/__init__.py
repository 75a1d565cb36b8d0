"""Scaler: exactly N servers from a snapshot, on Hetzner Cloud and DigitalOcean."""
