"""Read-only web pages for an archive; ``create_app`` returns the application.

``views`` computes the values of a page, which are also its JSON twin; ``templates`` render them
without scripts; ``static`` has the style sheet and a script for keys and clicks.
"""

from palimpsest.inspector.pages.app import create_app

__all__ = ["create_app"]
