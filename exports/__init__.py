"""Exports of an archive in standard formats, one module for each.

They read snapshots, and passages from ``evidence``, a batch at a time, and write new files. They
never write to an archive, and only ``bagit`` reads raw files again.
"""
