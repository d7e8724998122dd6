"""Other people's modules as autoencoders."""
