"""The number from the load: metrics, the decision, its memory, the watch loop, and the simulation.

Nothing is imported here: `scaler.model` takes `policy` from this package, and stays light.
"""
