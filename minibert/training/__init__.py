"""What train.py needs beside the model."""
