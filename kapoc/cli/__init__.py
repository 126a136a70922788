"""The command line: parse, call, print, exit. Nothing below this room writes to standard output or exits."""
