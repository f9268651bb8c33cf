"""Three books by Immanuel Kant from Project Gutenberg: the corpus of KantaiBERT."""
from functools import partial
from pathlib import Path

from data.lines import decoded_lines
from data.readers import text_lines
from data.sources.download import download
from data.sources.gutenberg import body_checksum

URL = "https://www.gutenberg.org/cache/epub/{ebook}/pg{ebook}.txt"
# file -> (ebook number, checksum of the text without Gutenberg's header and license)
BOOKS = {
    "critique-of-practical-reason.txt":
        (5683, "6cf90a6e8dd9fd0f52946a2f438f50acae9b32e9923bcfe76726640914e2fa8d"),
    "critique-of-pure-reason.txt":
        (4280, "250c2e554931c01e0e9fe0cbd85588fbdd3515c7467f38f50ba902e41815600e"),
    "metaphysic-of-morals.txt":
        (5682, "55b90d86f861c2ac9c9b191e7d02ca90a6a11b2b1e962398597fdfb2d8c9f15b"),
}


def fetch(folder, checksum=True, show_progress=True, url=URL, pause=1.0):
    """Download the books that are not yet in ``folder``; return the paths of all three.

    checksum=False accepts any edition: Gutenberg corrects its books now and then.
    Raises OSError if a download fails, ValueError if a text is not the expected one.
    """
    paths = []
    for name, (ebook, expected) in BOOKS.items():
        path = Path(folder) / name
        if not path.exists():
            check = partial(check_book, expected=expected, name=name) if checksum else None
            download(url.format(ebook=ebook), path, check, show_progress, pause)
        paths.append(path)
    return paths


def check_book(path, is_complete, expected, name):
    """Raise ValueError unless the book in a file has the expected checksum."""
    found = body_checksum(text_lines(decoded_lines(path)))
    if found != expected:
        raise ValueError(f"{name}: the text has checksum {found[:16]}..., expected "
                         f"{expected[:16]}...: a damaged download or a newer edition. Try again, "
                         "or accept it: python -m data download kant --no-checksum")
