"""`python -m onefold.cli`: for processes that start one another."""

from onefold.cli import main

if __name__ == "__main__":
    main()
