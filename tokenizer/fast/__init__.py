"""Array code behind the fast paths. Not needed to understand BERT."""
