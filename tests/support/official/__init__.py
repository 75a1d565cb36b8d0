"""What the official plugins keep in a stack: recorded from both of them, for servers that scaler's plugin has too."""
