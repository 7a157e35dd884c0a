"""Waits for the call of a program that was started ahead of it: until standard input ends.

Imported by sandbox_ahead.pth while the interpreter starts, before it looks for the program's file.
"""

import os

del os.environ["SANDBOX_MCP_AHEAD"]
while os.read(0, 4096):
    pass
# From here on all is as it would be without.
_null = os.open(os.devnull, os.O_RDONLY)
os.dup2(_null, 0)
os.close(_null)
