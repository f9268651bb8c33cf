"""Use and inspect a trained model."""
