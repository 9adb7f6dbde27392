"""Find and open sources: files, folders, patterns and URLs."""
