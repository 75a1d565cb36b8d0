"""DigitalOcean's API v2, as its clients use it."""
