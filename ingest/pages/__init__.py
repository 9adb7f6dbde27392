"""Web pages: extract the article and anchor its paragraphs in the bytes of the page."""
