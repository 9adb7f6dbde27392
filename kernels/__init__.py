"""Compiled primitives over flat columns: spans, sorting, digests and Unicode tables.

This room knows numpy and numba. It knows nothing of articles, archives or settings.
"""
