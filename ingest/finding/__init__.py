"""Find sources: files, folders, patterns and addresses, and open what they name."""
