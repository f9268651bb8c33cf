"""The files of tokenizers. Only load.py and tokenizer_json_read.py know the tokenizer classes."""
