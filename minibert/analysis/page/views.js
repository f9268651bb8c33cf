// What the reader sees and does. Everything that comes from the run or the reader enters the page
// as text: append() and textContent never make markup of a string.
"use strict";

const METHODS = {
  bpe: "Byte-level BPE begins with the bytes of a word (· is a space) and merges neighbors, in the "
    + "order in which training learned these merges.",
  wordpiece: "WordPiece takes the longest piece that is in the vocabulary, then continues after "
    + "it. A piece inside a word begins with ##.",
};

const find = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)}%`;

// Return a new element; the children are elements and texts.
function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Make one button of a row the only one that the Tab key stops at.
function stopAt(button) {
  for (const other of button?.parentNode.querySelectorAll("button") ?? []) other.tabIndex = -1;
  if (button) button.tabIndex = 0;
}

// Let the arrow keys move along a row of buttons.
function moveWithArrows(container) {
  container.addEventListener("focusin", (event) => stopAt(event.target));
  container.addEventListener("keydown", (event) => {
    const buttons = [...container.querySelectorAll("button")];
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const target = step && buttons[buttons.indexOf(event.target) + step];
    if (target) {
      event.preventDefault();
      target.focus();
    }
  });
}

// The page's state, and a function for each view of it. data: {config, weights, tokenizer,
// examples}, as pack.py makes it.
class Views {
  constructor(data) {
    this.config = data.config;
    this.model = new Model(data);
    this.tokenizer = new Tokenizer(data.tokenizer);
    this.neverPredicted = new Set(data.tokenizer.never_predicted);
    this.masked = new Set(); // positions of the tokens that the reader masks
    // layer and head that the attention view shows: at first one in the middle
    this.head = [Math.floor(data.config.num_hidden_layers / 2), 0];
    this.listen();
    find("examples").append(...data.examples.map((text) =>
      element("button", { onclick: () => { find("text").value = text; this.read(); } }, text)));
    find("text").value = data.examples[0];
    find("method").textContent = METHODS[data.tokenizer.kind];
    find("views").hidden = false;
    this.read();
  }

  listen() {
    let timer = null;
    find("text").addEventListener("input", () => { // wait until the reader pauses
      clearTimeout(timer);
      timer = setTimeout(() => this.read(), 150);
    });
    find("word").addEventListener("input", () => this.showWord());
    find("back").addEventListener("click", () => this.showSteps(this.step - 1));
    find("next").addEventListener("click", () => this.showSteps(this.step + 1));
    find("play").addEventListener("click", () => this.play());
    moveWithArrows(find("tokens"));
    moveWithArrows(find("looks"));
    // The pictures of the heads have the colors of the page.
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.showHeads());
  }

  // Read the text again, and answer.
  read() {
    const text = find("text").value;
    this.ids = this.tokenizer.encode(text, this.config.max_length);
    this.masked.clear();
    this.showTokens();
    this.answer();
    const words = text.match(/[\p{L}\p{M}]+/gu) ?? [""];
    const lengths = words.map((word) => this.tokenizer.encode(word).length);
    find("word").value = words[lengths.indexOf(Math.max(...lengths))].slice(0, 40);
    this.showWord();
  }

  // Run the model, and show its answers and where it looks.
  answer() {
    const begin = performance.now();
    const mask = this.tokenizer.mask_id;
    this.input = this.ids.map((id, i) => (this.masked.has(i) ? mask : id));
    this.output = this.model.forward(this.input);
    const positions = [...this.input.keys()].filter((i) => this.input[i] === mask);
    const cards = positions.map((position, i) => this.answerCard(position, i + 1));
    const milliseconds = Math.round(performance.now() - begin);
    find("answers").replaceChildren(...cards);
    const { max_length } = this.config;
    find("time").textContent = `${this.ids.length} tokens in ${milliseconds} ms.`
      + (this.ids.length < max_length ? "" : ` The model reads no more than ${max_length}.`);
    find("spoken").textContent = cards.map((card) => card.ariaLabel).join(" ");
    this.showHeads();
  }

  // The tokens of the text, as buttons that mask them
  showTokens() {
    const mask = this.tokenizer.mask_id;
    const special = new Set(this.tokenizer.special_ids);
    find("tokens").replaceChildren(...this.ids.map((id, i) => {
      const shown = this.tokenizer.show(id);
      if (special.has(id)) {
        return element("span", { className: id === mask ? "masked" : "special" }, shown);
      }
      const button = element("button", { className: "ab"[i % 2], ariaPressed: "false" }, shown);
      button.addEventListener("click", () => {
        const isMasked = !this.masked.delete(i);
        if (isMasked) this.masked.add(i);
        button.ariaPressed = isMasked;
        button.textContent = isMasked ? this.tokenizer.show(mask) : shown;
        this.answer();
      });
      return button;
    }));
    stopAt(find("tokens").querySelector("button"));
  }

  // The likeliest tokens at a mask, and what each layer would have answered
  answerCard(position, number) {
    const layers = this.probabilities(position);
    const probs = layers.at(-1);
    const best = this.likeliest(probs, 5);
    const original = this.ids[position];
    const wasMasked = this.masked.has(position);
    const bars = best.flatMap((id) => [
      element("span", {}, percent(probs[id])),
      element(wasMasked && id === original ? "b" : "span", {}, this.tokenizer.show(id)),
      element("i", { style: `width:${100 * probs[id]}%` }),
    ]);
    const rows = layers.map((p, layer) => element("tr", {},
      element("th", { scope: "row" }, `layer ${layer + 1}`),
      ...this.likeliest(p, 3).map((id) => element("td", {},
        element("span", { className: "mono" }, this.tokenizer.show(id)), ` ${percent(p[id])}`))));
    const name = `Mask ${number}: ${this.tokenizer.show(best[0])} ${percent(probs[best[0]])}.`;
    const answers = element("div", {},
      element("h3", {}, `Mask ${number}`), element("div", { className: "bars" }, ...bars));
    if (wasMasked) {
      const isLikelier = (p, id) => p > probs[original] && !this.neverPredicted.has(id);
      const rank = 1 + probs.filter(isLikelier).length;
      answers.append(element("p", {}, "The text has ",
        element("b", { className: "mono" }, this.tokenizer.show(original)),
        `: ${percent(probs[original])}, rank ${rank.toLocaleString("en")}.`));
    }
    return element("article", { className: "card", ariaLabel: name }, answers,
      element("div", {}, element("h3", {}, "What each layer would have answered"),
        element("div", { className: "scroll" }, element("table", {}, ...rows))));
  }

  // The probabilities of all tokens at a position: for each layer, as if it were the last one
  probabilities(position) {
    const { hidden } = this.output;
    const vectors = matrix(hidden.length, this.config.hidden_size);
    hidden.forEach((x, layer) => row(vectors, layer).set(row(x, position)));
    const logits = this.model.mlmHead(vectors);
    const size = this.tokenizer.tokens.length; // a padded vocabulary has more rows
    return hidden.map((_, layer) => softmax(row(logits, layer)).subarray(0, size));
  }

  // Return the likeliest ids, without special tokens.
  likeliest(probs, count) {
    let best = [];
    probs.forEach((p, id) => {
      if (this.neverPredicted.has(id) || (best.length === count && p <= probs[best.at(-1)])) return;
      best = [...best, id].sort((a, b) => probs[b] - probs[a]).slice(0, count);
    });
    return best;
  }

  // A picture of each head. Shades follow the square root, so that broad attention shows, too.
  showHeads() {
    const color = getComputedStyle(document.body).getPropertyValue("--blue");
    const T = this.input.length;
    const rows = this.output.attention.map((maps, layer) => {
      const pictures = maps.map((weights, head) => {
        const canvas = element("canvas", { width: T, height: T });
        const context = canvas.getContext("2d");
        const image = context.createImageData(T, T);
        weights.data.forEach((weight, i) => { image.data[4 * i + 3] = 255 * Math.sqrt(weight); });
        context.putImageData(image, 0, 0); // black, more or less transparent
        context.globalCompositeOperation = "source-in"; // the color, as transparent as this
        context.fillStyle = color;
        context.fillRect(0, 0, T, T);
        const input = element("input", {
          type: "radio", name: "head", ariaLabel: `layer ${layer + 1}, head ${head + 1}`,
          checked: layer === this.head[0] && head === this.head[1],
          onchange: () => { this.head = [layer, head]; this.showLooks(); },
        });
        return element("label", {}, input, canvas);
      });
      const columns = `grid-template-columns:repeat(${Math.min(maps.length, 4)},minmax(0,4.5rem))`;
      return element("div", { style: columns },
        element("span", {}, `layer ${layer + 1}`), ...pictures);
    });
    find("heads").replaceChildren(...rows);
    const buttons = this.input.map((id, i) => {
      const show = () => this.showLooks(i);
      return element("button", { onpointerenter: show, onfocus: show, onclick: show },
        this.tokenizer.show(id));
    });
    find("looks").replaceChildren(...buttons);
    stopAt(buttons[0]);
    this.showLooks(Math.max(this.input.indexOf(this.tokenizer.mask_id), 0));
  }

  // Where one token looks, by the chosen head
  showLooks(position = this.position) {
    this.position = position;
    const [layer, head] = this.head;
    const weights = row(this.output.attention[layer][head], position);
    [...find("looks").children].forEach((button, i) => {
      button.style.setProperty("--weight", `${45 * Math.sqrt(weights[i])}%`); // text stays readable
      button.ariaCurrent = i === position;
      button.dataset.share = weights[i] < 0.01 ? "" : `${Math.round(100 * weights[i])}%`;
    });
    const most = [...weights.keys()].filter((i) => weights[i] >= 0.01);
    most.sort((a, b) => weights[b] - weights[a]).splice(5);
    const quoted = (i) => `“${this.tokenizer.show(this.input[i])}”`;
    const shares = most.map((i) => `${quoted(i)} ${percent(weights[i])}`);
    find("look").textContent = `Layer ${layer + 1}, head ${head + 1}: ${quoted(position)} looks at `
      + `${shares.join(", ")}.`;
  }

  // The steps from a word to its tokens
  showWord() {
    clearInterval(this.timer);
    const { tokenizer } = this;
    const text = find("word").value.trim();
    const words = tokenizer.words(tokenizer.isBpe && text ? ` ${text}` : text);
    const rows = words.flatMap((word) => [...tokenizer.steps(word)]).map((step) => {
      const pieces = step.ids.map((id, i) =>
        element("span", { className: i === step.at ? "new" : "ab"[i % 2] }, tokenizer.show(id)));
      const rest = step.rest ? [element("span", { className: "rest" }, step.rest)] : [];
      const note = step.rank === undefined ? "" : `merge ${(step.rank + 1).toLocaleString("en")}`;
      return element("li", {}, element("div", { className: "row" }, ...pieces, ...rest),
        element("span", { className: "soft" }, note));
    });
    find("steps").replaceChildren(...rows);
    this.showSteps(rows.length);
  }

  // Show the first steps only.
  showSteps(count) {
    const rows = [...find("steps").children];
    this.step = Math.min(Math.max(count, 1), rows.length);
    rows.forEach((item, i) => { item.hidden = i >= this.step; });
    find("back").disabled = this.step <= 1;
    find("next").disabled = this.step === rows.length;
  }

  // Show one step after the other.
  play() {
    clearInterval(this.timer);
    this.showSteps(1);
    this.timer = setInterval(() => {
      this.showSteps(this.step + 1);
      if (find("next").disabled) clearInterval(this.timer);
    }, 700);
  }
}

new Views(JSON.parse(find("data").textContent));
