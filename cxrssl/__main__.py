"""Entry point of `cxrssl` and `python -m cxrssl`."""

import sys

from cxrssl.core.signals import end_on_signals, ignore_signals


def main() -> None:
    """Run the command line; a signal that comes while it is loaded, or when it is done, has its word and code too."""
    with end_on_signals() as stop:
        try:
            from cxrssl.cli.app import main as run_command

            run_command()
        except KeyboardInterrupt:
            error = stop.error()
            sys.stderr.write(f"cxrssl: error: {error.what}\n  hint: {error.hint}\n")
            sys.exit(error.exit_code)
        finally:
            stop.is_over = True
            ignore_signals()


if __name__ == "__main__":
    main()
