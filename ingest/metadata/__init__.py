"""Facts about a document: title, author, date, site, series."""
