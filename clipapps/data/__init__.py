"""Readers and transforms that several projects use: `images` (files to arrays), `transforms` (pipeline steps)."""
