"""Models that write text: causal language models, and encoder-decoders."""
