"""A group's `autoscale` block: where its numbers come from, and what count they mean."""
