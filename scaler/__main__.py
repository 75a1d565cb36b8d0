"""`python -m scaler`."""

from scaler.commands.main import entry

if __name__ == "__main__":
    entry()
