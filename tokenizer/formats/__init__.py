"""Tokenizer files, as text and JSON; no tokenizer class is imported here."""
