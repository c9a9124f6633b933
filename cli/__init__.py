"""The `mulu` command: the only code that prints or exits."""
