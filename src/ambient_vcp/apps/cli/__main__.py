"""Lets `python -m ambient_vcp.apps.cli` do what `ambient-vcp` does."""

from ambient_vcp.apps.cli.main import main

if __name__ == "__main__":
    main()
