"""Write a tokenizer folder."""
import os
from pathlib import Path

from tokenizer.formats.vocab_files import holds_tokenizer
from tokenizer.utils.files import atomic_folder, atomic_write, check_writable

OWN_FILES = {"vocab.json", "merges.txt", "vocab.txt", "tokenizer.json", "tokenizer_config.json", "tokens.tsv",
             "special_tokens_map.json", "added_tokens.json"}  # the last two are other programs', and go when a tokenizer is replaced


def check_save_folder(folder, overwrite=False):
    """An error that is better told before training: where no tokenizer can be saved in ``folder``, or one is there already."""
    if not str(folder):
        raise ValueError("the name of the folder is empty: name a folder for the tokenizer")
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise ValueError(f"{folder}: is a file; a tokenizer is saved as a folder")
    check_writable(folder)
    if os.path.exists(folder) and not _in_parts(folder):  # it is replaced from beside it
        check_writable(Path(folder).absolute().parent)
    if holds_tokenizer(folder) and not overwrite:
        raise ValueError(f"{folder} holds a tokenizer already: choose another folder, or replace it with --overwrite")


def _in_parts(folder):
    """Whether files go into ``folder`` one by one, as other things are in it; or a shell, which would else stand in a folder that is gone."""
    folder = Path(folder)
    return folder.exists() and (folder.samefile(Path.cwd()) or bool({path.name for path in folder.iterdir()} - OWN_FILES))


def save_files(folder, files):
    """Write {name: text} into ``folder``: all at once, or file by file where the folder holds other things too, or is the current one."""
    check_save_folder(folder, overwrite=True)
    folder = Path(folder)
    if _in_parts(folder):
        for name, text in files.items():
            atomic_write(folder / name, text)
        for name in OWN_FILES - set(files):  # of the tokenizer that was here before
            (folder / name).unlink(missing_ok=True)
        return
    with atomic_folder(folder) as temporary:
        for name, text in files.items():
            (temporary / name).write_bytes(text.encode("utf-8"))
