"""The vocabulary that all rooms share: schemas, settings, errors and ids.

This room imports no other room and opens no file.
"""

__version__ = "0.1.0"
