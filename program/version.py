"""The version of the program, in one place for Python."""

VERSION = "0.1.0"
