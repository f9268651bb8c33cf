"""The quality of a corpus: filters, near duplicates and reports."""
