"""`python -m onefold`: the command line, where its script is not on the path."""

from onefold.cli import main

if __name__ == "__main__":
    main()
