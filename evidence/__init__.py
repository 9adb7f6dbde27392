"""Derive evidence from the overlaps of a store on request: passages, and why texts match.

This room reads a store and its raw files and writes to neither. It knows nothing of Prefect or of
pages; rooms above it show or write its results.
"""
