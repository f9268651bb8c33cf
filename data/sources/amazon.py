"""Amazon's reviews as published by the McAuley Lab (UC San Diego): JSON lines, a file per category.

    2023             {"rating": 5.0, "title": ..., "text": "...", "asin": ..., "user_id": ..., ...}
    2014 and 2018    {"overall": 5.0, "summary": ..., "reviewText": "...", "asin": ..., ...}

Files of all three editions can be read (those of 2014 if they are strict JSON); the edition of 2023
is downloaded. Reviews contain some HTML: line breaks and character references are resolved here.
The source of each fact is in docs/sources.md.
"""
import html
import re
from functools import partial
from pathlib import Path

from data.sentences import split_sentences
from data.sources.compression import check_compressed, longest, partial_path
from data.sources.download import download

HOME = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw/review_categories/"
DEFAULT_VARIANT = "Digital_Music"  # among the smallest: 130,400 reviews, 11.4 million tokens
LINE_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def is_review(record):
    """Return whether a JSON object is a review: it has a product number (asin) and a rating."""
    return "asin" in record and ("rating" in record or "overall" in record)


def text_field_of(record, text_field):
    """Return the field with the text: the default, "text", is "reviewText" in older editions."""
    return "reviewText" if text_field == "text" and "overall" in record else text_field


def document(text):
    """``"Fine.<br />Really &quot;fine&quot;. Buy!" -> 'Fine.\\nReally "fine".\\nBuy!'``"""
    return "\n".join(split_sentences(html.unescape(LINE_BREAK.sub("\n", text))))


def find(folder):
    """Return the files of reviews in ``folder``, a list that may be empty."""
    return longest(Path(folder).glob("*.jsonl.gz"))


def fetch(folder, category="", megabytes=0, address=HOME, show_progress=True, pause=1.0):
    """Download a category (default: Digital_Music) into ``folder``; return its file in a list.

    megabytes: how much of the compressed file; 0 means all. A file that exists is not downloaded
    again. Raises as ``download``; an unknown category is a FileNotFoundError.
    """
    path = Path(folder) / f"{category or DEFAULT_VARIANT}.jsonl.gz"
    for existing in (path, partial_path(path, megabytes)):
        if existing.exists():
            return [existing]
    check = partial(check_compressed, show_progress=show_progress)
    return [download(address + path.name, path, check, show_progress, pause, megabytes)]
