"""What a bundle does with some rows, in plain numbers: what the page that a team shares is drawn from."""
