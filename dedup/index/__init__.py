"""The LSH index of an archive: sorted segments on disk, searched in place."""
