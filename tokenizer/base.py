"""What every tokenizer has: special tokens, sequence templates, truncation, padding, batches, the fast way for many texts, saving.

A subclass says how a text is cut into words (``_words``), how a word becomes ids (``_encode_word``), the same with offsets
(``_encode_plain``), how tokens become text again (``_text_of``), which token a merge makes (``merged_token``), and which files
hold it (``_vocabulary_files``, ``_settings``). ``bpe.py`` and ``wordpiece.py`` are the two.
"""
import hashlib
import json
from dataclasses import asdict
from itertools import groupby

from tokenizer.added_tokens import AddedToken, AddedTokens
from tokenizer.encoding import Encoding, longest_first, padded_length
from tokenizer.fast.corpus_encoder import CorpusEncoder, encode_documents
from tokenizer.formats.save import save_files
from tokenizer.formats.token_table import token_table
from tokenizer.formats.tokenizer_json_write import tokenizer_json_files
from tokenizer.utils.validation import as_id_list, check_int, checked_texts, split_pair

# The parts that special tokens play, by their customary names in RoBERTa's and BERT's vocabularies.
ROLES = {"cls": ("<s>", "[CLS]"), "pad": ("<pad>", "[PAD]"), "sep": ("</s>", "[SEP]"), "unk": ("<unk>", "[UNK]"),
         "mask": ("<mask>", "[MASK]")}

KEPT_WORDS = 1 << 18  # about 60 MB; in real texts far fewer words make up nearly everything
KEPT_LENGTH = 100     # longer words hardly come twice
SHORT_TEXT = 500      # characters, up to which the fast way for many texts is slower


class Tokenizer:
    """Text <-> ids. Made by ``train``, ``train_from_iterator`` or ``load_tokenizer``.

    kind                        "bpe" or "wordpiece"
    vocab_size                  number of ids, special tokens included
    special_tokens, special_ids tuples, in ascending order of ids
    cls_token, cls_token_id     and the same for sep, pad, unk and mask; None where the vocabulary has none
    added_tokens                ``AddedToken``s: the special tokens, and what else is looked for in a text before all else
    training_summary            after training: how large it became and why it stopped; else None
    learned                     after training: ``LearnedMerges``; else None
    model_max_length            the longest input of the model it belongs to, where known; kept, not enforced
    folder                      where it was loaded from; None for one that was trained here
    fingerprint                 changes whenever any id of any text could
    """
    kind = None
    TEMPLATE = (("cls", 0), ("A", 0), ("sep", 0))  # (part, type id)
    PAIR_TEMPLATE = None
    boundaries = None  # where words begin: a function of word_boundaries.py
    MASK_TAKES_SPACE = False  # whether white space before a mask token belongs to it
    add_prefix_space = False  # whether a text is given a space to begin with

    def __init__(self, tokens, special_tokens, model_max_length=None, roles=None, added=(), templates=None, normalize=None):
        """tokens: all, in order of ids.  special_tokens: those that are never cut.  roles: {"cls": "<s>", ...}.

        Of published vocabularies: added: ``AddedToken``s that are not special, or that are, but not looked for in the usual way;
        templates: other than the usual (TEMPLATE, PAIR_TEMPLATE);  normalize: see ``AddedTokens``.
        """
        self._tokens = list(tokens)
        self._ids = {token: i for i, token in enumerate(self._tokens)}
        if len(self._ids) < len(self._tokens):
            twice = next(token for i, token in enumerate(self._tokens) if self._ids[token] != i)
            raise ValueError(f"the vocabulary holds {twice!r} twice, as {self._tokens.index(twice)} and "
                             f"{self._ids[twice]}: each token must have one id")
        missing = [token for token in (*special_tokens, *(token.content for token in added)) if token not in self._ids]
        if missing:
            raise ValueError(f"special token {missing[0]!r} is not in the vocabulary of {len(self._tokens):,}")
        self.special_tokens = tuple(sorted(special_tokens, key=self._ids.get))
        self.special_ids = tuple(self._ids[token] for token in self.special_tokens)
        for role, names in ROLES.items():
            named = (roles or {}).get(role)
            token = named or next((name for name in names if name in self.special_tokens), None)
            setattr(self, f"{role}_token", token)
            setattr(self, f"{role}_token_id", self._ids.get(token))
        usual = [AddedToken(token, lstrip=self.MASK_TAKES_SPACE and token == self.mask_token) for token in self.special_tokens]
        self.added_tokens = tuple({token.content: token for token in (*usual, *added)}.values())
        self._added_contents = frozenset(token.content for token in self.added_tokens)
        self._added = AddedTokens(self.added_tokens, self._ids, normalize)
        self.template, self.pair_template = templates or (self.TEMPLATE, self.PAIR_TEMPLATE)
        # For the fingerprint: added tokens and templates that are not what the vocabulary and the roles alone would give.
        self._unusual = [asdict(token) for token in self.added_tokens if token not in usual]
        if templates and templates != (self.TEMPLATE, self.PAIR_TEMPLATE):
            self._unusual.append(templates)
        self.model_max_length = model_max_length
        self.folder = None
        self.training_summary = None
        self.learned = None
        self._fingerprint = None
        self._forget()

    # The vocabulary

    @property
    def vocab_size(self):
        return len(self._tokens)

    def __len__(self):
        return len(self._tokens)

    def __repr__(self):
        return f"{type(self).__name__}({len(self):,} tokens, {len(self.special_tokens)} of them special)"

    def token_to_id(self, token):
        """The id of a token, None where the vocabulary does not have it. 'Ġthe' -> 262"""
        return self._ids.get(token)

    def id_to_token(self, token_id):
        """The token of an id, None past either end. 262 -> 'Ġthe'"""
        return self._tokens[token_id] if 0 <= token_id < len(self._tokens) else None

    def get_vocab(self):
        """All tokens with their ids, in order of ids, as a new dict."""
        return dict(self._ids)

    def require(self, *roles):
        """ValueError that names those of ``roles`` ("cls", "sep", "pad", "unk", "mask") for which there is no token.

        of GPT-2's: ``require("pad", "mask") -> ValueError: the tokenizer in gpt2 has no pad, mask token: ...``
        """
        missing = [role for role in roles if getattr(self, f"{role}_token_id") is None]
        if missing:
            where = f"the tokenizer in {self.folder}" if self.folder else "the tokenizer"
            raise ValueError(f"{where} has no {', '.join(missing)} token: say in its tokenizer_config.json which tokens of the "
                             f'vocabulary they are ({{"{missing[0]}_token": "{ROLES[missing[0]][0]}", ...}}), or train one that has '
                             "them (python -m tokenizer train)")

    # Text -> ids

    def encode_ids(self, text):
        """A text's ids and nothing else. Special tokens are neither added nor looked for in the text. 'a b' -> [69, 300]

        Equal to ``encode(text, add_special_tokens=False, split_special_tokens=True).ids``.
        """
        if len(text) < SHORT_TEXT:
            return [token_id for token_id, _, _ in self._encode_text(text, split_special_tokens=True)]
        return self.encode_texts([text])[0].tolist()

    def encode_texts(self, texts):
        """The fast way for many texts, without offsets: as ``encode_ids`` for a list of texts, together.

        -> (ids of all texts one after the other (N,) uint32; how many are each text's (len(texts),) int64)

        ["a b", "", "b"] -> array([69, 300, 70]), array([2, 0, 1])
        """
        return self._added.encode_texts(texts, self._encode_plain_texts)

    def encode_documents(self, documents, workers=None):
        """An iterator of texts in, an iterator of arrays out: the ids of each, as ``encode_ids`` gives them, made on all cores.

        Arrays are uint16 where all ids fit, else uint32. Only a few batches are held at a time. workers: processes, None is one a core.

        ["a b", "b"] -> array([69, 300], dtype=uint16), array([70], dtype=uint16)
        """
        check_int(1, workers=workers)
        return encode_documents(self, checked_texts(documents), workers)

    def encode(self, text, pair=None, *, add_special_tokens=True, max_length=None, pad_to_length=None,
               pad_to_multiple_of=None, split_special_tokens=False):
        """A text, or a text and its pair, as an ``Encoding``.

        max_length: cut to this many tokens, special ones included; of a pair the longer text gives way first.
        pad_to_length, pad_to_multiple_of: fill up on the right with pad tokens.
        split_special_tokens: treat '<mask>' and the like in the text as plain characters.

        "a b" -> .tokens ['<s>', 'a', 'Ġb', '</s>'], .offsets [(0, 0), (0, 1), (1, 3), (0, 0)], ... (byte-level BPE)
        """
        check_int(0, max_length=max_length, pad_to_length=pad_to_length)
        check_int(1, pad_to_multiple_of=pad_to_multiple_of)
        texts = {"A": self._encode_text(text, split_special_tokens)}
        if pair is not None:
            texts["B"] = self._encode_text(pair, split_special_tokens)
        if max_length is not None:
            self._truncate(texts, max_length, add_special_tokens)
        encoding = Encoding()
        for part, type_id in self.template if pair is None else self.pair_template:
            if part in texts:
                for token_id, start, end in texts[part]:
                    encoding.add(token_id, self._tokens[token_id], type_id, (start, end))
            elif add_special_tokens:
                token = self._needed(part)
                encoding.add(self._ids[token], token, type_id, special=1)
        self._pad(encoding, padded_length(len(encoding), pad_to_length, pad_to_multiple_of))
        return encoding

    def encode_batch(self, inputs, *, padding=False, pad_to_length=None, pad_to_multiple_of=None, **options):
        """A list of texts, or of (text, pair) tuples, as a list of encodings.

        padding: fill all up to the longest.  The rest as in ``encode``.
        """
        if isinstance(inputs, str):
            raise TypeError("encode_batch takes a list of texts, not one text: pass [text], or use encode")
        check_int(0, pad_to_length=pad_to_length)
        check_int(1, pad_to_multiple_of=pad_to_multiple_of)
        pairs = [split_pair(item, number) for number, item in enumerate(inputs)]
        encodings = [self.encode(text, pair, **options) for text, pair in pairs]
        longest = max(map(len, encodings), default=0) if padding else 0
        for encoding in encodings:
            length = max(len(encoding), longest, pad_to_length or 0)
            self._pad(encoding, padded_length(length, pad_to_multiple_of=pad_to_multiple_of))
        return encodings

    def num_special_tokens_to_add(self, pair=False):
        """How many tokens the template adds. BERT: 2, with a pair 3; RoBERTa: 2, with a pair 4."""
        template = self.pair_template if pair else self.template
        return sum(part not in ("A", "B") for part, _ in template)

    def _encode_text(self, text, split_special_tokens):
        """[(id, start, end), ...] with special tokens in the text found, unless they are to be split."""
        if not isinstance(text, str):
            raise TypeError(f"encode takes a str, got {type(text).__name__}: decode bytes first, pass lists to "
                            f"encode_batch")
        return self._added.encode(text, self._encode_plain, split_special_tokens)

    def _truncate(self, texts, max_length, add_special_tokens):
        """Cut ``texts``, {"A": pieces, "B": pieces}, so that they and the special tokens fit into ``max_length``."""
        added = self.num_special_tokens_to_add("B" in texts) if add_special_tokens else 0
        room = max_length - added
        if room < 0:
            raise ValueError(f"max_length={max_length} has no room for the {added} special tokens that are added: "
                             f"use at least {added}, or add_special_tokens=False")
        if "B" in texts:
            first, second = longest_first(len(texts["A"]), len(texts["B"]), room)
            texts["A"], texts["B"] = texts["A"][:first], texts["B"][:second]
        else:
            texts["A"] = texts["A"][:room]

    def _pad(self, encoding, length):
        for _ in range(length - len(encoding)):
            token = self._needed("pad")
            encoding.add(self._ids[token], token, attention=0, special=1)

    def _needed(self, role):
        """The token of a role; ValueError where the vocabulary has none. "pad" -> '<pad>'"""
        token = getattr(self, f"{role}_token")
        if token is None:
            raise ValueError(f"the vocabulary has no {role} token ({' or '.join(ROLES[role])}), which this needs: "
                             f"train with it, or encode with add_special_tokens=False and without padding")
        return token

    # Ids -> text

    def decode(self, ids, skip_special_tokens=True):
        """The text of a list of ids. Raises ValueError for an id that the vocabulary does not have, TypeError for what is no list of ids.

        skip_special_tokens=False writes special tokens as they are spelled: '<s>The mask</s>'.
        """
        ids = as_id_list(ids)
        for i in ids:
            if not 0 <= i < len(self._tokens):
                raise ValueError(f"id {i} is not in the vocabulary, which has 0 to {len(self._tokens) - 1}: "
                                 f"were the ids made by another tokenizer?")
        if skip_special_tokens:
            special = set(self.special_ids)
            ids = [i for i in ids if i not in special]
        added = {self._ids[token.content] for token in self.added_tokens}
        runs = [(is_added, [self._tokens[i] for i in run]) for is_added, run in groupby(ids, key=added.__contains__)]
        return self._text_of(runs)

    # Files

    @property
    def fingerprint(self):
        """SHA-256 over all that decides the ids of a text: token files and checkpoints store it to know their tokenizer."""
        if self._fingerprint is None:
            roles = {role: getattr(self, f"{role}_token") for role in ROLES}
            everything = [self.kind, self._vocabulary_files(), self._settings(), self.special_tokens, roles, *self._unusual]
            self._fingerprint = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()
        return self._fingerprint

    def save(self, folder):
        """Write the vocabulary in the ecosystem's files, and, where merges are known, a table of it to look at, ``tokens.tsv``.

        ``load_tokenizer(folder)`` and transformers' ``AutoTokenizer.from_pretrained(folder)`` read them back. Other files in the
        folder stay; those of another tokenizer that was there go.
        """
        save_files(folder, {**self._vocabulary_files(), **tokenizer_json_files(self), **token_table(self)})

    # What has been encoded is kept, but not sent to worker processes.

    def _forget(self):
        """Begin with empty memories: of words for ``encode``, of units for ``encode_texts``."""
        self._word_ids = WordCache(self._encode_word)
        self._corpus = CorpusEncoder(self.boundaries, self._encode_unit)

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name not in ("_word_ids", "_corpus")}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._forget()

    def _encode_plain_texts(self, texts):
        """Texts without added tokens -> (ids of all, how many are each text's)."""
        return self._corpus.encode([self._with_prefix_space(text) for text in texts] if self.add_prefix_space else texts)

    def _encode_unit(self, unit):
        """The ids of a unit (``unit_table.py``): one word, or some that are looked up together. " the" -> [262]"""
        return [token_id for word in self._words(unit) for token_id in self._word_ids[word]]

    def _with_prefix_space(self, text):
        """As GPT-2's ``add_prefix_space`` has it, before anything but a space: 'a' -> ' a', ' a' -> ' a', '\\na' -> ' \\na'"""
        return " " + text if self.add_prefix_space and text and not text.startswith(" ") else text

    # What a subclass adds

    def _words(self, text):
        """text -> list of words, normalized where the tokenizer does so."""
        raise NotImplementedError

    def _encode_word(self, word):
        """word -> list of ids."""
        raise NotImplementedError

    def _encode_plain(self, text, shift):
        """text without special tokens -> list of (id, start, end), the offsets moved by ``shift``."""
        raise NotImplementedError

    def _text_of(self, runs):
        """runs: list of (whether these are added tokens, list of tokens) -> text."""
        raise NotImplementedError

    def token_text(self, token, errors="backslashreplace"):
        """Return the text of one token; added tokens are written as they are."""
        raise NotImplementedError

    def merged_token(self, left, right):
        """The token that merging two gives."""
        raise NotImplementedError

    def _vocabulary_files(self):
        """{file name: content}."""
        raise NotImplementedError

    def _settings(self):
        """What else decides the ids, under the names of Hugging Face's tokenizer_config.json."""
        raise NotImplementedError


class WordCache(dict):
    """word -> ids; a missing word is encoded and kept. Emptied when full, which is rare and cheap."""

    def __init__(self, encode_word):
        self.encode_word = encode_word

    def __missing__(self, word):
        ids = self.encode_word(word)
        if len(word) <= KEPT_LENGTH:
            if len(self) >= KEPT_WORDS:
                self.clear()
            self[word] = ids
        return ids
