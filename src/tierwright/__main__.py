"""``python -m tierwright``: the same as the command ``tierwright``."""

from tierwright.cli import main

if __name__ == "__main__":
    main()
