"""What the API says of things: one file per noun, dicts made of the core's objects."""
