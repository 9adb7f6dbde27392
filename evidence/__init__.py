"""What the overlaps of a store come to, made when somebody asks: passages, and why texts match.

This room reads a store and the raw files that it names, and writes nothing to either. It knows
neither Prefect nor pages; who shows or writes what it finds is above it.
"""
