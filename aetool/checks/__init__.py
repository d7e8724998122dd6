"""Are two answers the same, and are they good?"""
