"""Plain text: decode bytes, detect the layout, normalise, detect the language."""
