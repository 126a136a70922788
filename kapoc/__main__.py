"""`python -m kapoc` is `kapoc`."""

from kapoc.cli.main import main

if __name__ == "__main__":
    main()
