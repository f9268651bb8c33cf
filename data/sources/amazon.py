"""Amazon's reviews, as the McAuley Lab (UC San Diego) publishes them: one JSON object a line, one file a category.

    2023             {"rating": 5.0, "title": ..., "text": "...", "asin": ..., "parent_asin": ..., "user_id": ..., ...}
    2014 and 2018    {"overall": 5.0, "summary": ..., "reviewText": "...", "asin": ..., "reviewerID": ..., ...}

Files of all three are read (those of 2014 where they are strict JSON); the 2023 edition is what gets downloaded. Reviews
keep some HTML, line breaks and character references, which are resolved here. Where each fact is from: docs/sources.md.
"""
import html
import re
from pathlib import Path

from data.sentences import split_sentences
from data.sources.compression import check_compressed, longest, partial_path
from data.sources.download import download
from tokenizer.utils.cli import suggestion

HOME = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw/review_categories/"
DEFAULT_VARIANT = "Digital_Music"  # among the smallest: 130,400 reviews, 11.4 million tokens
CATEGORIES = (
    "All_Beauty Amazon_Fashion Appliances Arts_Crafts_and_Sewing Automotive Baby_Products Beauty_and_Personal_Care Books CDs_and_Vinyl "
    "Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics Gift_Cards Grocery_and_Gourmet_Food Handmade_Products "
    "Health_and_Household Health_and_Personal_Care Home_and_Kitchen Industrial_and_Scientific Kindle_Store Magazine_Subscriptions "
    "Movies_and_TV Musical_Instruments Office_Products Patio_Lawn_and_Garden Pet_Supplies Software Sports_and_Outdoors Subscription_Boxes "
    "Tools_and_Home_Improvement Toys_and_Games Unknown Video_Games").split()
BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


# ------------------------------------------------------------------------------------------------------- its form


def is_review(record):
    """Whether an object is a review: a product's number (asin) and a rating."""
    return "asin" in record and ("rating" in record or "overall" in record)


def text_field_of(record, text_field):
    """The field that holds the text: ``text_field``, but for "text", the default, "reviewText" in the editions that call it so."""
    return "reviewText" if text_field == "text" and "overall" in record else text_field


def document(text):
    """``"Fine.<br />Really &quot;fine&quot;. Buy!" -> 'Fine.\\nReally "fine".\\nBuy!'``"""
    return "\n".join(split_sentences(html.unescape(BREAK.sub("\n", text))))


# ------------------------------------------------------------------------------------------------------- its home


def find(folder):
    """The files of reviews in ``folder``; [] where there is none."""
    return longest(Path(folder).glob("*.jsonl.gz"))


def fetch(folder, category="", megabytes=0, address=HOME, show_progress=True, pause=1.0):
    """Download a category (Digital_Music where none is named) into ``folder``; return its file in a list.

    ``megabytes``: no more than so many (packed) million bytes, 0 for all of it. What is there is not fetched again.
    Raises ValueError for an unknown category, and what ``download`` raises.
    """
    category = category or DEFAULT_VARIANT
    if category not in CATEGORIES:
        raise ValueError(f"no category {category!r}{suggestion(category, CATEGORIES)} (there are: {', '.join(CATEGORIES)})")
    path = Path(folder) / f"{category}.jsonl.gz"
    for place in (path, partial_path(path, megabytes)):
        if place.exists():
            return [place]
    return [download(f"{address}{category}.jsonl.gz", path, lambda part, whole: check_compressed(part, whole, show_progress),
                     show_progress, pause, megabytes)]
