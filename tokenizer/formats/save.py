"""Write a tokenizer folder."""
from pathlib import Path

from tokenizer.formats.vocab_files import holds_tokenizer
from tokenizer.utils.files import atomic_folder, atomic_write, check_writable

# The last two are written by other programs, and removed when a tokenizer is replaced.
OWN_FILES = {"vocab.json", "merges.txt", "vocab.txt", "tokenizer.json", "tokenizer_config.json",
             "tokens.tsv", "special_tokens_map.json", "added_tokens.json"}


def check_save_folder(folder, overwrite):
    """Raise an error, before training, if no tokenizer can be saved in ``folder``."""
    if not str(folder):
        raise ValueError("the name of the folder is empty")
    folder = Path(folder)
    check_writable(folder)
    if folder.exists() and not _must_stay(folder):
        check_writable(folder.absolute().parent)  # the new folder is made there, then renamed
    if holds_tokenizer(folder / "tokenizer"):
        raise ValueError(f"{folder} is a run, whose tokenizer is in {folder / 'tokenizer'}: choose "
                         "another folder")
    if holds_tokenizer(folder) and not overwrite:
        raise ValueError(f"{folder} already has a tokenizer: choose another folder, "
                         "or replace it with --overwrite")


def save_files(folder, files):
    """Write {name: text} into ``folder``: all files at once if possible, else one by one."""
    folder = Path(folder)
    if not _must_stay(folder):
        with atomic_folder(folder) as temporary:
            for name, text in files.items():
                (temporary / name).write_bytes(text.encode("utf-8"))
        return
    for name, text in files.items():
        atomic_write(folder / name, text)
    for name in OWN_FILES - set(files):
        (folder / name).unlink(missing_ok=True)  # a file of the previous tokenizer


def _must_stay(folder):
    """Return whether ``folder`` cannot be replaced: it has other files, or is the current one."""
    if not folder.exists():
        return False
    has_other_files = any(path.name not in OWN_FILES for path in folder.iterdir())
    return has_other_files or folder.samefile(Path.cwd())
