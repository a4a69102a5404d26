"""The command line: parse, call, print; no mathematics.

Importing this imports neither torch nor numpy: every command imports what it needs when it runs, so that help and the
answer to a typing error come at once.
"""

from latentkit.cli.program import main

__all__ = ["main"]
