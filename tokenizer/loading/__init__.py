"""Tokenizer folders and tokenizer.json -> a tokenizer."""
