"""What an archive holds in the standards of others: a module a format.

Reads snapshots and what ``evidence`` makes of them, a batch at a time, and writes new files where
people say. It never writes to an archive, and only ``bagit`` reads raw files again.
"""
