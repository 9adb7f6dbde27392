"""Every operation that writes is killed, and refused by the disk, at each of its steps in turn."""
