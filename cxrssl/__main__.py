"""Entry point of `cxrssl` and `python -m cxrssl`."""

from cxrssl.cli.app import main

if __name__ == "__main__":
    main()
