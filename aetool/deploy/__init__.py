"""A bundle laid out for another host: one module per target, each with one function that gives a `Deployment`."""
