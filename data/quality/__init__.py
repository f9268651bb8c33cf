"""Filters, near duplicates and reports for a corpus."""
