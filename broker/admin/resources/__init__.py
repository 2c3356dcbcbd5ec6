"""What can be done over the API: one file per noun, each with its ROUTES."""
