"""`python -m cli` is `mulu`."""

from cli.main import main

main()
