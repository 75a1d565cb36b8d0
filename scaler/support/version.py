"""The one place that says which version of scaler this is."""

VERSION = "0.1.0"
