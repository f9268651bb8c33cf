"""A tag for each word: parts of speech, named entities (Devlin et al. 2018, section 5.3).

    words      Jim           Henson      spoke
    pieces     Jim    [CLS]  Hen  ##son  spoke
    tags       B-PER         I-PER       O
    labels     0      -100   1    -100   2        those of other pieces and of [CLS] do not count

The tag of a word is predicted at its first piece. A sentence that is too long for the model is read
in windows that overlap by half; each word belongs to the window where it has the most context.
"""
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import chain

import torch

from minibert.finetuning.loop import EncodedRows
from minibert.finetuning.metrics import accuracy, entity_scores, is_entity_tag
from minibert.finetuning.tagged_files import has_tags, is_json, read_sentences, with_tags
from minibert.finetuning.task import Task
from minibert.heads import BertForTokenClassification
from minibert.masking import IGNORE_INDEX
from tokenizer.utils.progress import progress_bar
from tokenizer.utils.terminal import plural, visible

ENTITY_METRICS = ("f1", "precision", "recall")
MAX_UNSEEN = 3  # tags that are named on the screen


class Tokens(Task):
    """One of several tags for each word."""
    model_class = BertForTokenClassification
    metrics = (*ENTITY_METRICS, "accuracy")
    layout_flags = ("text", "label", "encoding_errors")
    baseline_name = "the most frequent tag of each word"

    def read(self, path, layout, labeled=True, keep_empty=False):
        return read_sentences(path, layout, labeled)

    def file_has_labels(self, path, layout):
        return has_tags(path, layout)

    def labels(self, examples):
        tags = sorted({*chain(*examples.labels)})
        if len(tags) < 2:
            raise ValueError(f"{examples.path}: all words have the tag {tags[0]!r}: is the tag in "
                             "the last column?")
        return tuple(tags)

    def complete(self, config, examples):
        """Choose the metric: F1 of the entities, or accuracy if the tags are not entities."""
        are_entities = all(map(is_entity_tag, self.labels(examples)))
        if config.metric in ENTITY_METRICS and not are_entities:
            raise ValueError(f"--metric {config.metric} needs tags of entities, such as B-PER, "
                             "I-PER and O: use accuracy")
        return replace(config, metric=config.metric or ("f1" if are_entities else "accuracy"))

    def notes(self, train, dev, labels):
        """Return the shares of the tags, and a warning for each dev tag that training lacks."""
        counts = Counter(chain(*train.labels))
        total = counts.total()
        listed = [f"{visible(tag)}: {counts[tag] / total:.0%}" for tag in labels[:10]]
        lines = [f"tags         {', '.join(listed)}" + (", ..." if len(labels) > 10 else ""),
                 f"words        {total:,} for training, {sum(map(len, dev.texts)):,} in dev"]
        if len(train) == 1 and not is_json(train.path):
            lines.append(f"warning      {train.path} is one sentence: a blank line must follow "
                         "each")
        if any(is_entity_tag(tag) for tag in labels if tag != "O"):  # as of a misspelled one
            lines += [f"warning      {train.path}:{line}: the tag {visible(tag)} is not O, B-... "
                      "or I-...: the score is the accuracy, not the F1 of entities"
                      for tag, line in first_lines(train).items() if not is_entity_tag(tag)][:1]
        return lines + self.warnings(dev, labels)

    def warnings(self, examples, labels):
        lines = [f"warning      {examples.path}:{line}: the tag {visible(tag)} does not occur in "
                 "training: it counts as wrong"
                 for tag, line in first_lines(examples).items() if tag not in labels]
        if more := len(lines[MAX_UNSEEN:]):
            count = plural(more, "more tag does", "more tags do")
            lines[MAX_UNSEEN:] = [f"warning      {examples.path}: {count} not occur in training"]
        return lines

    def encode(self, tokenizer, examples, labels, model_config, max_length):
        """Return ids (T,) for each window; labels (T,): tags at first pieces, else -100."""
        class_of = {tag: i for i, tag in enumerate(labels)}
        rows, targets, locations = [], [], []
        with progress_bar(len(examples), "encoding", "sentences") as bar:
            for words, tags in zip(examples.texts, examples.labels or examples.texts):
                location_of = {}
                ids, first_pieces = encode_words(tokenizer, words)
                for start, size, own_words in windows(ids, first_pieces, max_length - 2):
                    piece_ids = ids[start : start + size]
                    row = [tokenizer.cls_token_id, *piece_ids, tokenizer.sep_token_id]
                    target = torch.full((len(row),), IGNORE_INDEX)
                    for word in own_words:
                        position = first_pieces[word] - start + 1  # after [CLS]
                        location_of[word] = len(rows), position
                        target[position] = class_of.get(tags[word], IGNORE_INDEX)
                    rows.append(row)
                    targets.append(target)
                locations.append([location_of.get(word) for word in range(len(words))])
                bar.update()
        encoded = EncodedRows(rows, tokenizer.pad_token_id, max_length, examples=examples,
                              labels=None if examples.labels is None else targets)
        encoded.locations = locations  # of each word: (row, position); None: it has no piece
        return encoded

    def answers(self, outputs, encoded, labels, config):
        classes = [row.argmax(dim=1).tolist() for row in outputs]
        without_piece = "O" if "O" in labels else labels[0]
        return [{"words": words,
                 "tags": [labels[classes[location[0]][location[1]]] if location else without_piece
                          for location in locations]}
                for words, locations in zip(encoded.examples.texts, encoded.locations)]

    def score(self, answers, examples, labels, config):
        predictions = [answer["tags"] for answer in answers]
        scores = {"accuracy": accuracy([*chain(*examples.labels)], [*chain(*predictions)])}
        if all(map(is_entity_tag, labels)):
            scores = entity_scores(examples.labels, predictions) | scores
        return scores

    def baseline(self, train, dev):
        counts = defaultdict(Counter)  # word -> how often it has each tag
        for word, tag in zip(chain(*train.texts), chain(*train.labels)):
            counts[word][tag] += 1
        usual = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}
        unseen = Counter(chain(*train.labels)).most_common(1)[0][0]
        return [{"words": words, "tags": [usual.get(word, unseen) for word in words]}
                for words in dev.texts]

    def predictions_suffix(self, path):
        return ".jsonl" if is_json(path) else ".tsv"

    def render(self, answers, path, layout):
        return list(with_tags(path, [answer["tags"] for answer in answers], layout))


def first_lines(examples):
    """Return {tag: line number of its first word}."""
    lines = {}
    for tag, line in zip(chain(*examples.labels), chain(*examples.lines)):
        lines.setdefault(tag, line)
    return lines


def encode_words(tokenizer, words):
    """Return (ids of the words joined by spaces, {index of a word: index of its first piece}).

    A word without a piece, such as one of control characters for WordPiece, is left out.
    """
    encoding = tokenizer.encode(" ".join(words), add_special_tokens=False)
    first_pieces = {}
    piece = 0
    end = -1
    for index, word in enumerate(words):
        start = end + 1  # after the space
        end = start + len(word)
        while piece < len(encoding) and encoding.offsets[piece][1] <= start:
            piece += 1  # the rest of the word before, or a space alone
        if piece < len(encoding) and encoding.offsets[piece][0] < end:
            first_pieces[index] = piece
    return encoding.ids, first_pieces


def windows(ids, first_pieces, size):
    """Yield (start, number of ids, indices of its words) of each window of a sentence.

    Windows overlap by half. A word belongs to the window in which the smaller number of ids on
    either side of it is largest; the first one wins ties.

    >>> [*windows(range(6), {word: word for word in range(6)}, size=4)]
    [(0, 4, [0, 1, 2]), (2, 4, [3, 4, 5])]
    """
    starts = [*range(0, max(len(ids) - size, 0), max(size // 2, 1)), max(len(ids) - size, 0)]
    words_of = defaultdict(list)
    for word, piece in first_pieces.items():
        context = [min(piece - start, start + size - 1 - piece) for start in starts]
        words_of[starts[context.index(max(context))]].append(word)
    for start in starts:
        yield start, min(size, len(ids)), words_of[start]
