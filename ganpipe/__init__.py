"""ganpipe turns a pile of images into a trained, measured, versioned and served generator."""

__version__ = "0.1.0"
