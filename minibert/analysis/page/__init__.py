"""One HTML page that describes a run."""
