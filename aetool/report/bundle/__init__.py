"""The page of a bundle."""
