"""Show an archive or a comparison to people: terminal output, web pages and reports.

This room only reads a store and what ``evidence`` derives from it.
"""
