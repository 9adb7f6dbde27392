"""Look at an archive or a comparison: what the command line prints for people.

This room only reads a store; it computes nothing that is not in the tables.
"""
