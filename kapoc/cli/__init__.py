"""The command line: parse, call, print, exit. Nothing below this room prints or exits."""
