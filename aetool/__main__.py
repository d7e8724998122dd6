"""`python -m aetool`."""

from aetool.cli import main

if __name__ == "__main__":
    main(prog_name="aetool")
