"""Configs of this project; a leaf config is a file whose name does not begin with an underscore."""
