"""The release, for every module that must know it."""

__version__ = "0.1.0"
