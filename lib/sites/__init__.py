"""What static-site generators do with files and headings. Imports nothing else of lib."""
