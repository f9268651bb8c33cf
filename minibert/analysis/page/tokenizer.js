// The tokenizers, from text to ids: tokenizer/bpe.py and wordpiece.py in JavaScript.
//
// Browsers have Unicode tables of their own. Characters that Unicode has added or changed since
// about 2016 may therefore be cut in other places than in Python.
"use strict";

// Unicode's white space; \s of JavaScript is not the same.
const WHITE = String.raw`\p{White_Space}`;
const GPT2_WORDS = new RegExp(String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+`
  + String.raw`| ?[^${WHITE}\p{L}\p{N}]+|${WHITE}+(?![^${WHITE}])|${WHITE}+`, "gu");
// ASCII symbols such as $ and + count as punctuation, too.
const PUNCTUATION = String.raw`!-\/:-@\[-\x60\{-~\p{P}`;
const BERT_WORDS = new RegExp(`[^${WHITE}${PUNCTUATION}]+|[${PUNCTUATION}]`, "gu");
const CONTROLS = /[\0\ufffd]|(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}]/gu;
const CJK = new RegExp("[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}"
  + "\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]", "gu");

// The characters that represent the 256 bytes in a byte-level vocabulary: see pretokenize.py.
const BYTE_CHARACTERS = [];
for (let byte = 0, spare = 256; byte < 256; byte++) {
  const isPrintable = /[!-~\u00a1-\u00ac\u00ae-\u00ff]/.test(String.fromCharCode(byte));
  BYTE_CHARACTERS.push(String.fromCharCode(isPrintable ? byte : spare++));
}

class Tokenizer {
  // settings: what pack_tokenizer in pack.py returns
  constructor(settings) {
    Object.assign(this, settings);
    this.isBpe = this.kind === "bpe";
    this.ids = new Map(this.tokens.map((token, id) => [token, id]));
    // No part of a word becomes a special token, even if its characters spell one.
    this.pieces = new Map(this.ids);
    for (const id of this.special_ids) this.pieces.delete(this.tokens[id]);
    this.special = this.specialPattern();
    if (this.isBpe) {
      this.byteIds = BYTE_CHARACTERS.map((char) => this.ids.get(char));
      this.ranks = new Map(); // pair of ids -> rank: 0 for the merge learned first
      this.merges.forEach((pair, rank) => this.ranks.set(this.pairKey(...pair), rank));
    }
  }

  // Return a pattern that finds special tokens; of two at one position, the longer one.
  specialPattern() {
    const longestFirst = [...this.special_ids].sort(
      (a, b) => this.tokens[b].length - this.tokens[a].length);
    const patterns = longestFirst.map((id) => {
      const pattern = this.tokens[id].replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
      // RoBERTa's mask includes the space before it.
      return this.isBpe && id === this.mask_id ? `${WHITE}*${pattern}` : pattern;
    });
    return new RegExp(`(${patterns.join("|")})`, "u");
  }

  // Return the ids of a text, at most maxLength, with the special tokens at both ends.
  // Both spellings of the mask, [MASK] and <mask>, are understood.
  encode(text, maxLength = Infinity) {
    const mask = this.tokens[this.mask_id];
    const ids = [];
    // Odd parts are special tokens, even ones what is between them.
    text.replace(/\[MASK\]|<mask>/g, () => mask).split(this.special).forEach((part, i) => {
      if (i % 2) ids.push(this.ids.get(this.ids.has(part) ? part : mask));
      else for (const word of this.words(part)) {
        if (ids.length < maxLength) ids.push(...this.encodeWord(word));
      }
    });
    return [this.cls_id, ...ids.slice(0, Math.max(maxLength - 2, 0)), this.sep_id];
  }

  words(text) {
    if (!this.isBpe) return this.normalize(text).match(BERT_WORDS) ?? [];
    const space = this.add_prefix_space && text && !text.startsWith(" ") ? " " : "";
    return (space + text).match(GPT2_WORDS) ?? [];
  }

  // Drop control characters, put spaces around Chinese characters, drop accents, convert to lower
  // case: see normalize.py.
  normalize(text) {
    text = text.replace(CONTROLS, "").replace(new RegExp(WHITE, "gu"), " ");
    if (this.tokenize_chinese_chars) text = text.replace(CJK, " $& ");
    if (this.strip_accents) text = text.normalize("NFD").replace(/\p{Mn}/gu, "");
    // One character at a time: at the end of a word, Σ would become ς.
    return this.lowercase ? Array.from(text, (char) => char.toLowerCase()).join("") : text;
  }

  encodeWord(word) {
    let ids = [];
    for (const step of this.steps(word)) ids = step.ids;
    return ids;
  }

  // Yield the steps from a word to its tokens: {ids, at: the index of the new token, ...}.
  steps(word) {
    return this.isBpe ? this.mergeSteps(word) : this.pieceSteps(word);
  }

  // Byte-pair encoding: apply the merge that training learned first, the leftmost of equal ones,
  // until none is left.
  * mergeSteps(word) {
    let ids = Array.from(new TextEncoder().encode(word), (byte) => this.byteIds[byte]);
    yield { ids };
    for (;;) {
      const ranks = ids.slice(1).map(
        (id, i) => this.ranks.get(this.pairKey(ids[i], id)) ?? Infinity);
      const rank = ranks.reduce((a, b) => Math.min(a, b), Infinity);
      if (rank === Infinity) return;
      const at = ranks.indexOf(rank);
      const merged = this.tokens[ids[at]] + this.tokens[ids[at + 1]];
      ids = [...ids.slice(0, at), this.ids.get(merged), ...ids.slice(at + 2)];
      yield { ids, at, rank };
    }
  }

  pairKey(left, right) { // one number for two ids
    return left * this.tokens.length + right;
  }

  // WordPiece: take the longest piece that fits, then continue after it. If none fits, the whole
  // word is unknown.
  * pieceSteps(word) {
    const chars = Array.from(word);
    if (chars.length > this.max_input_chars_per_word) {
      yield { ids: [this.unk_id], at: 0, rest: "" };
      return;
    }
    const ids = [];
    yield { ids: [], rest: word };
    for (let start = 0, end; start < chars.length; start = end) {
      const piece = () => (start ? "##" : "") + chars.slice(start, end).join("");
      for (end = chars.length; end > start && !this.pieces.has(piece()); end--);
      if (end === start) {
        yield { ids: [this.unk_id], at: 0, rest: "" };
        return;
      }
      ids.push(this.pieces.get(piece()));
      yield { ids: [...ids], at: ids.length - 1, rest: chars.slice(end).join("") };
    }
  }

  // Return the text of a token with signs for what is invisible: · for a space, ↵ for a line end.
  // The bytes of half a character are written \xf0.
  show(id) {
    let text = this.tokens[id];
    if (this.isBpe && !this.special_ids.includes(id)) {
      const bytes = Uint8Array.from(text, (char) => BYTE_CHARACTERS.indexOf(char));
      try {
        text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
      } catch {
        return Array.from(bytes, (byte) => byte === 32 ? "·"
          : `\\x${byte.toString(16).padStart(2, "0")}`).join("");
      }
    }
    const signs = { " ": "·", "\n": "↵", "\t": "→", "\r": "␍" };
    return text.replace(/^\p{M}/u, "◌$&").replace(/[\p{C}\p{Z}]/gu, (char) =>
      signs[char] ?? `\\u${char.codePointAt(0).toString(16).padStart(4, "0")}`);
  }
}
