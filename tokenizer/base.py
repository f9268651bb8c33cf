"""What both tokenizers share: special tokens, templates, truncation, padding, batches, saving.

A subclass (``bpe.py``, ``wordpiece.py``) defines

    train(files, ...)             learn a vocabulary
    merged_token(left, right)     the token that a merge makes
    _words(text)                  the words of a text, as a list
    _encode_word(word)            the ids of a word, as a list
    _encode_plain(text, shift)    (id, start + shift, end + shift) of each token of a text
    _decode_runs(runs)            the text of a list of (are these added tokens, list of tokens)
    token_text(token)             the text of one token
    _vocabulary_files()           {file name: content}
    _settings()                   other settings that affect ids, named as in tokenizer_config.json
"""
import hashlib
import json
from dataclasses import asdict
from functools import cached_property
from itertools import groupby

import numpy as np

from tokenizer.added_tokens import ROLES, AddedToken, AddedTokens
from tokenizer.encoding import Encoding, padded_length, truncate
from tokenizer.fast.corpus_encoder import CorpusEncoder, encode_documents
from tokenizer.fast.word_cache import WordCache
from tokenizer.formats.save import save_files
from tokenizer.formats.token_table import token_table
from tokenizer.formats.tokenizer_json_write import tokenizer_json_files
from tokenizer.formats.vocab_files import UNUSED
from tokenizer.trainers.counting import count_texts
from tokenizer.unknown import UnknownText
from tokenizer.utils.validation import as_id_list, check_int

SHORT_TEXT = 500  # characters; up to this length the corpus encoder is slower than ``encode``


class Tokenizer:
    """Convert text to ids and back.

    kind                         "bpe" or "wordpiece"
    vocab_size                   number of ids: tokens, special tokens included, and unused_ids
    unused_ids                   ids without a token, which some published vocabularies have
    never_predicted              special_ids and unused_ids
    special_tokens, special_ids  tuples, in order of ids
    cls_token, cls_token_id      None if there is no such token; likewise sep, pad, unk, mask
    added_tokens                 ``AddedToken``s: all strings that are found before words are cut
    training_summary             after training: the size reached, and why training stopped
    training_unknown             after training: what of the corpus is [UNK], a sentence, or None
    learned                      after training: ``LearnedMerges``
    model_max_length             longest input of the tokenizer's model, if known; not enforced
    folder                       the folder that it was loaded from, else None
    fingerprint                  a hash of everything that affects the ids of a text
    """

    kind = None
    TEMPLATE = (("cls", 0), ("A", 0), ("sep", 0))  # (role or text, type id)
    PAIR_TEMPLATE = None
    boundaries = None  # a function of fast/word_boundaries.py
    _unknown_in = None  # a function, see ``CorpusEncoder``; byte-level BPE knows every text
    CACHES = ("_word_ids", "_corpus")  # attributes that are not sent to worker processes
    MASK_TAKES_SPACE = False  # whether the mask token includes the white space before it

    def __init__(self, tokens, special_tokens, model_max_length=None, roles=None, added=(),
                 templates=None, normalize=None, normalize_text=None):
        """Set what both kinds of tokenizer have.

        tokens: all tokens in order of ids.  special_tokens: tokens that are never cut.

        Published vocabularies may also need
        roles: {"cls": "<s>", ...}, to override ``ROLES``
        added: ``AddedToken``s that are not special, or special with unusual flags
        templates: (template, pair template), to override TEMPLATE and PAIR_TEMPLATE
        normalize, normalize_text: see ``AddedTokens``
        """
        self._tokens = list(tokens)
        self._ids = {token: i for i, token in enumerate(self._tokens)}
        self.unused_ids = tuple(i for i, token in enumerate(self._tokens)
                                if token.startswith("[") and token == UNUSED.format(i))
        self._check_tokens(special_tokens, added)
        self.special_tokens = tuple(sorted(special_tokens, key=self._ids.get))
        self.special_ids = tuple(self._ids[token] for token in self.special_tokens)
        self.never_predicted = (*self.special_ids, *self.unused_ids)
        self._set_roles(roles or {})

        usual = []
        for token in self.special_tokens:
            takes_space = self.MASK_TAKES_SPACE and token == self.mask_token
            usual.append(AddedToken(token, lstrip=takes_space))
        self.added_tokens = tuple({token.content: token for token in (*usual, *added)}.values())
        self._added_contents = frozenset(token.content for token in self.added_tokens)
        self._added = AddedTokens(self.added_tokens, self._ids, normalize, normalize_text)
        self.template, self.pair_template = templates or (self.TEMPLATE, self.PAIR_TEMPLATE)

        # What the fingerprint must include because the vocabulary and the roles do not imply it.
        self._nonstandard = [asdict(token) for token in self.added_tokens if token not in usual]
        if templates and templates != (self.TEMPLATE, self.PAIR_TEMPLATE):
            self._nonstandard.append(templates)

        self.model_max_length = model_max_length
        self.folder = None
        self.training_summary = None
        self.training_unknown = None
        self.learned = None
        self._reset_caches()

    def _check_tokens(self, special_tokens, added):
        for i, token in enumerate(self._tokens):
            if self._ids[token] != i:  # a later duplicate replaced the id
                raise ValueError(f"the vocabulary contains {token!r} twice")
        for token in (*special_tokens, *(token.content for token in added)):
            if token not in self._ids:
                raise ValueError(f"special token {token!r} is not in the vocabulary")

    def _set_roles(self, roles):
        """Set cls_token, cls_token_id, ..., from ``roles`` or the usual names."""
        for role, usual_names in ROLES.items():
            found = [name for name in usual_names if name in self.special_tokens]
            token = roles.get(role) or (found[0] if found else None)
            setattr(self, f"{role}_token", token)
            setattr(self, f"{role}_token_id", self._ids.get(token))

    # Training

    @classmethod
    def train_from_iterator(cls, texts, *args, **options):
        """Learn a vocabulary from an iterable of strings; otherwise as ``train``."""
        return cls.train(texts, *args, count_words=count_texts, **options)

    # The vocabulary

    @property
    def vocab_size(self):
        return len(self._tokens)

    def __len__(self):
        return len(self._tokens)

    def __repr__(self):
        special = len(self.special_tokens)
        return f"{type(self).__name__}({len(self):,} tokens, {special} of them special)"

    def token_to_id(self, token):
        """Return the id of a token, or None if it is not in the vocabulary. 'Ġthe' -> 262"""
        return self._ids.get(token)

    def id_to_token(self, token_id):
        """Return the token of an id, or None if it is not in the vocabulary. 262 -> 'Ġthe'"""
        return self._tokens[token_id] if 0 <= token_id < len(self._tokens) else None

    def get_vocab(self):
        """Return a new dict {token: id}, in order of ids."""
        return dict(self._ids)

    def require(self, *roles):
        """Raise ValueError if a role ("cls", "sep", "pad", "unk", "mask") has no token."""
        missing = [role for role in roles if getattr(self, f"{role}_token_id") is None]
        if missing:
            name = f"the tokenizer in {self.folder}" if self.folder else "the tokenizer"
            example = f'{{"{missing[0]}_token": "{ROLES[missing[0]][0]}"}}'
            raise ValueError(f"{name} has no {', '.join(missing)} token: say in its "
                             f"tokenizer_config.json which token to use ({example}), or train one "
                             "that has it (python -m tokenizer train)")

    # Text -> ids

    def encode_ids(self, text):
        """Return only the ids of a text; special tokens are neither added nor recognized.

        Equals ``encode(text, add_special_tokens=False, split_special_tokens=True).ids``.
        """
        if len(text) < SHORT_TEXT:
            pieces = self._encode_text(text, split_special_tokens=True)
            return [token_id for token_id, _, _ in pieces]
        return self.encode_texts([text])[0].tolist()

    def encode_texts(self, texts):
        """Encode a list of texts as ``encode_ids`` does, but fast.

        Returns the ids of all texts together, (N,) uint32, and the number of ids of each text,
        (len(texts),) int64.

        ["a b", "", "b"] -> array([69, 300, 70]), array([2, 0, 1])
        """
        if isinstance(texts, str):
            raise TypeError("encode_texts takes a list of texts, not one text: pass [text]")
        return self._added.encode_texts(texts, self._encode_plain_texts)

    def take_unknown(self):
        """Return the ``UnknownText`` of all ``encode_texts`` since the last call; None for BPE."""
        if self._unknown_in is None:
            return None
        unknown = self._corpus.unknown
        self._corpus.unknown = UnknownText()
        return unknown

    def encode_documents(self, documents, workers=None):
        """Encode an iterable of texts on all cores. Yield an array of ids for each, in order.

        The arrays are uint16 if all ids of the vocabulary fit, else uint32. Memory holds only a
        few batches. workers: number of processes, by default one per core.

        ["a b", "b"] -> array([69, 300], dtype=uint16), array([70], dtype=uint16)
        """
        check_int(1, workers=workers)
        if isinstance(documents, str):
            raise TypeError("encode_documents takes an iterable of texts: pass [text]")
        return encode_documents(self, documents, workers)

    def encode(self, text, pair=None, *, add_special_tokens=True, max_length=None,
               pad_to_length=None, pad_to_multiple_of=None, split_special_tokens=False):
        """Encode a text, or a text and its pair, and return an ``Encoding``.

        max_length: cut to this many tokens, special tokens included, the longer text first.
        pad_to_length, pad_to_multiple_of: add pad tokens at the end.
        split_special_tokens: treat '<mask>' and the like in the text as ordinary characters.

        "a b" -> .tokens ['<s>', 'a', 'Ġb', '</s>'], .offsets [(0, 0), (0, 1), (1, 3), (0, 0)]
        """
        check_int(0, max_length=max_length)
        pieces = {"A": self._encode_text(text, split_special_tokens)}
        if pair is not None:
            pieces["B"] = self._encode_text(pair, split_special_tokens)
        if max_length is not None:
            with_pair = pair is not None
            num_added = self.num_special_tokens_to_add(with_pair) if add_special_tokens else 0
            truncate(pieces, max_length, num_added)

        encoding = Encoding()
        for part, type_id in self.template if pair is None else self.pair_template:
            if part in pieces:
                encoding.extend(pieces[part], self._tokens, type_id)
            elif add_special_tokens:
                self._add_special(encoding, part, type_id)
        self._pad(encoding, pad_to_length, pad_to_multiple_of)
        return encoding

    def encode_batch(self, inputs, *, padding=False, pad_to_length=None, pad_to_multiple_of=None,
                     **options):
        """Encode a list of texts or (text, pair) tuples and return a list of encodings.

        padding: pad all to the length of the longest.  options: as in ``encode``.
        """
        if isinstance(inputs, str):
            raise TypeError("encode_batch takes a list of texts, not one text: pass [text]")
        encodings = []
        for item in inputs:
            text, pair = (item, None) if isinstance(item, str) else item
            encodings.append(self.encode(text, pair, **options))
        if padding:
            pad_to_length = max([pad_to_length or 0, *map(len, encodings)])
        for encoding in encodings:
            self._pad(encoding, pad_to_length, pad_to_multiple_of)
        return encodings

    def num_special_tokens_to_add(self, pair=False):
        """Return how many tokens the template adds: BERT 2 (pair 3), RoBERTa 2 (pair 4)."""
        template = self.pair_template if pair else self.template
        return sum(part not in ("A", "B") for part, _ in template)

    def has_template_tokens(self):
        """Return whether the vocabulary has the tokens that ``encode`` adds. GPT-2's does not."""
        roles = [part for part, _ in self.template if part not in ("A", "B")]
        return all(getattr(self, f"{role}_token") is not None for role in roles)

    def _encode_text(self, text, split_special_tokens):
        """Return (id, start, end) of each token; recognize added tokens in the text."""
        if not isinstance(text, str):
            raise TypeError(f"encode takes a str, got {type(text).__name__}: decode bytes first, "
                            "pass lists to encode_batch")
        return self._added.encode(text, self._encode_plain, split_special_tokens)

    def _add_special(self, encoding, role, type_id=0, attention=1):
        """Append the token of a role to an encoding."""
        token = getattr(self, f"{role}_token")
        if token is None:
            raise ValueError(f"the vocabulary has no {role} token, such as {ROLES[role][0]}")
        encoding.add(self._ids[token], token, type_id, attention=attention, special=1)

    def _pad(self, encoding, pad_to_length, pad_to_multiple_of):
        check_int(0, pad_to_length=pad_to_length)
        check_int(1, pad_to_multiple_of=pad_to_multiple_of)
        length = padded_length(len(encoding), pad_to_length, pad_to_multiple_of)
        while len(encoding) < length:
            self._add_special(encoding, "pad", attention=0)

    # Ids -> text

    def decode(self, ids, skip_special_tokens=True):
        """Return the text of a list of ids. Ids without a token have no text.

        skip_special_tokens=False keeps special tokens as written: '<s>The mask</s>'.
        Raises ValueError for an id that is not in the vocabulary, TypeError for anything but ids.
        """
        ids = as_id_list(ids)
        for i in ids:
            if not 0 <= i < len(self._tokens):
                raise ValueError(f"id {i} is not in the vocabulary of {len(self._tokens):,}")
        hidden = {*self.unused_ids, *(self.special_ids if skip_special_tokens else ())}
        tokens = [self._tokens[i] for i in ids if i not in hidden]
        # Runs of added tokens are written as they are; runs of other tokens are decoded together.
        runs = groupby(tokens, key=self._added_contents.__contains__)
        return self._decode_runs([(is_added, list(run)) for is_added, run in runs])

    # Files

    @cached_property
    def fingerprint(self):
        """SHA-256 of everything that affects ids. Token files and checkpoints store it."""
        everything = [
            self.kind,
            self._vocabulary_files(),
            self._settings(),
            self.special_tokens,
            {role: getattr(self, f"{role}_token") for role in ROLES},
            *self._nonstandard,
        ]
        serialized = json.dumps(everything, sort_keys=True)
        return hashlib.sha256(serialized.encode()).hexdigest()

    def save(self, folder):
        """Write the files that ``load_tokenizer`` and transformers' ``AutoTokenizer`` read.

        Also writes ``tokens.tsv``, a readable table of the merges, if they are known. Replaces
        the files of another tokenizer in the folder; other files stay.
        """
        files = {**self._vocabulary_files(), **tokenizer_json_files(self), **token_table(self)}
        save_files(folder, files)

    # Caches

    def _reset_caches(self):
        self._word_ids = WordCache(self._encode_word)  # for ``encode``
        self._corpus = CorpusEncoder(self.boundaries, self._encode_units, self._unknown_in)

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name not in self.CACHES}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._reset_caches()

    def _encode_plain_texts(self, texts):
        """Encode texts without added tokens. Return (all ids, number of ids of each text)."""
        return self._corpus.encode(texts)

    def _encode_units(self, units):
        """Return (ids of all units joined (N,), number of ids of each unit (U,)).

        A unit is the UTF-8 of one word, or of a few together (``fast/unit_table.py``).
        """
        ids = []
        lengths = []
        for unit in units:
            num_before = len(ids)
            for word in self._words(unit.decode("utf-8")):
                ids += self._word_ids[word]
            lengths.append(len(ids) - num_before)
        return np.array(ids), np.array(lengths)
