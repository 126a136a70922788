"""`python -m kapoc` is `kapoc`."""

from kapoc.cli import main

if __name__ == "__main__":
    main()
