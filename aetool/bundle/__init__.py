"""What lies on disk: the files of a bundle, read safely and written whole or not at all."""
