"""Recipes; see the README."""
