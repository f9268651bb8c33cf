"""Fine-tuning on labeled text."""
