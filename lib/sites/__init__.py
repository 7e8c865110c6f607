"""Rules of static-site generators for files and headings. Imports nothing else of lib."""
