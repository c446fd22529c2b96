"""Pictures of results: `panels` (side by side with titles), `masks` (overlay, legend), `curves` (figures of a run)."""
