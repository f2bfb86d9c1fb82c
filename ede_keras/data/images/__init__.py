"""Image files and their contents to pixels."""
