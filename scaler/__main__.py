"""`python -m scaler`, and the console script."""

import signal

_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def start() -> None:
    """Run the process's command line. A signal that arrives while its modules are loaded ends it after that.

    Before the first line of this, a signal ends the interpreter, and nothing can be reported.
    """
    held = _SIGNALS - signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    from scaler.commands.main import entry

    entry(held)


if __name__ == "__main__":
    start()
