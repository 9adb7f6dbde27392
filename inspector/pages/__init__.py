"""Read-only pages on an archive, in a browser: ``create_app`` makes the application.

What a page tells is made by ``views``, as values that its JSON twin gives too; ``templates`` show
it without a script; ``static`` has the style, and a script for what keys and clicks add.
"""

from inspector.pages.app import create_app

__all__ = ["create_app"]
