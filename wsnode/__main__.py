"""`python -m wsnode` is `wsnode`."""

from wsnode.cli import main

if __name__ == "__main__":
    main()
