"""Parts of recipes."""
