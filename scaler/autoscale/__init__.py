"""The number from the load: metrics, the decision, its memory, the watch loop, and the simulation."""
