"""Array code behind the fast paths; not needed to understand BERT."""
