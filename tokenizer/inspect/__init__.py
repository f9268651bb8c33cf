"""Show what a tokenizer does: the views of ``python -m tokenizer inspect``."""
