"""Everything Quire does, free of the web framework: flat modules, plain data in and out."""

__version__ = "0.1.0"
