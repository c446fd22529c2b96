"""The task projects that ship with clipapps, one package each; see README.md."""
