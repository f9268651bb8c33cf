// The model, from ids to logits: minibert/model.py and attention.py in JavaScript, with the same
// names. It reads one text at a time, without padding.
//
// In the comments: T tokens; H = hidden_size = nh heads of size hs; V = vocab_size. A matrix
// (rows, columns) is an object {rows, columns, data}; data has the numbers row after row.
"use strict";

function matrix(rows, columns, data = new Float32Array(rows * columns)) {
  return { rows, columns, data };
}

// Return row t of x. It is a view: a change of it changes x.
function row(x, t) {
  return x.data.subarray(t * x.columns, (t + 1) * x.columns);
}

function add(x, y) {
  return matrix(x.rows, x.columns, x.data.map((value, i) => value + y.data[i]));
}

// Return {name: matrix}. A bfloat16 is the upper half of a float32: equal range, fewer digits.
function unpackWeights({ shapes, base64 }) {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  const halves = new Uint16Array(bytes.buffer);
  const weights = {};
  let start = 0;
  for (const [name, [rows, columns]] of Object.entries(shapes)) {
    const bits = new Uint32Array(rows * columns);
    for (let i = 0; i < bits.length; i++) bits[i] = halves[start + i] << 16;
    weights[name] = matrix(rows, columns, new Float32Array(bits.buffer));
    start += bits.length;
  }
  return weights;
}

// The error function to 2e-7 (Abramowitz and Stegun 1964, formula 7.1.26).
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const sum = (((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t;
  return Math.sign(x) * (1 - (sum + 0.254829592) * t * Math.exp(-x * x));
}

const ACTIVATIONS = {
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  relu: (x) => Math.max(x, 0),
  silu: (x) => x / (1 + Math.exp(-x)),
};

function softmax(scores) {
  const largest = scores.reduce((a, b) => Math.max(a, b)); // exp(large number) would be Infinity
  const exps = scores.map((score) => Math.exp(score - largest));
  const sum = exps.reduce((a, b) => a + b);
  return exps.map((value) => value / sum);
}

// nn.Linear: x (T, in), weight (out, in), bias (out, 1) or undefined -> (T, out)
function linear(x, weight, bias) {
  const size = x.columns;
  const out = matrix(x.rows, weight.rows);
  const [X, W, Y] = [x.data, weight.data, out.data];
  // Four tokens and two outputs at a time, so that each number read serves several products. (If
  // fewer are left, the last one takes their places: it is only computed again.)
  for (let t = 0; t < x.rows; t += 4) {
    const [a, b, c, d] = [t, t + 1, t + 2, t + 3].map((r) => Math.min(r, x.rows - 1));
    const [xa, xb, xc, xd] = [a, b, c, d].map((r) => r * size);
    const [ya, yb, yc, yd] = [a, b, c, d].map((r) => r * weight.rows);
    for (let j = 0; j < weight.rows; j += 2) {
      const k = Math.min(j + 1, weight.rows - 1);
      let aj = bias ? bias.data[j] : 0, bj = aj, cj = aj, dj = aj;
      let ak = bias ? bias.data[k] : 0, bk = ak, ck = ak, dk = ak;
      for (let i = 0; i < size; i++) {
        const wj = W[j * size + i], wk = W[k * size + i];
        const va = X[xa + i], vb = X[xb + i], vc = X[xc + i], vd = X[xd + i];
        aj += va * wj; bj += vb * wj; cj += vc * wj; dj += vd * wj;
        ak += va * wk; bk += vb * wk; ck += vc * wk; dk += vd * wk;
      }
      Y[ya + j] = aj; Y[yb + j] = bj; Y[yc + j] = cj; Y[yd + j] = dj;
      Y[ya + k] = ak; Y[yb + k] = bk; Y[yc + k] = ck; Y[yd + k] = dk;
    }
  }
  return out;
}

class Model {
  constructor({ config, weights }) {
    this.config = config;
    this.weights = unpackWeights(weights);
    this.activation = ACTIVATIONS[config.activation];
    this.headActivation = ACTIVATIONS[config.head_activation];
  }

  linear(x, name) { // ModernBERT has no biases
    return linear(x, this.weights[`${name}.weight`], this.weights[`${name}.bias`]);
  }

  // Subtract the mean of each vector, divide by its standard deviation, then scale and shift.
  layerNorm(x, name) {
    const weight = this.weights[`${name}.weight`];
    const bias = this.weights[`${name}.bias`];
    if (!weight) return x; // nn.Identity: this model has no norm here
    const out = matrix(x.rows, x.columns);
    for (let t = 0; t < x.rows; t++) {
      const vector = row(x, t);
      const mean = vector.reduce((sum, value) => sum + value, 0) / x.columns;
      const variance = vector.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.columns;
      const std = Math.sqrt(variance + this.config.layer_norm_eps);
      row(out, t).set(vector.map((value, i) =>
        (value - mean) / std * weight.data[i] + (bias ? bias.data[i] : 0)));
    }
    return out;
  }

  // T ids -> (T, H): the sum of token, position and segment embeddings
  embeddings(ids) {
    const { "embeddings.token.weight": token, "embeddings.position.weight": position,
      "embeddings.segment.weight": segment } = this.weights;
    const x = matrix(ids.length, this.config.hidden_size);
    for (let t = 0; t < ids.length; t++) {
      const vector = row(x, t);
      const parts = [row(token, ids[t])];
      if (position) parts.push(row(position, t + this.config.first_position));
      if (segment) parts.push(row(segment, 0)); // all tokens belong to sentence A
      for (const part of parts) part.forEach((value, i) => { vector[i] += value; });
    }
    return this.layerNorm(x, "embeddings.norm");
  }

  // x (T, H) -> [y (T, H), the attention weights (T, T) of each head]
  attention(x, layer) {
    const { hidden_size: H, num_attention_heads: nh, rotary, local_attention } = this.config;
    const T = x.rows;
    const hs = H / nh;
    const isLocal = rotary && layer % this.config.global_attn_every_n_layers !== 0;
    const reach = isLocal ? Math.floor(local_attention / 2) : T; // tokens to each side
    const qkv = this.linear(x, `blocks.${layer}.attention.qkv`); // (T, 3H)
    if (rotary) this.applyRotary(qkv, isLocal);
    const y = matrix(T, H);
    const maps = [];
    for (let head = 0; head < nh; head++) {
      const part = (i, n) => row(qkv, i).subarray(n * H + head * hs, n * H + (head + 1) * hs);
      const keys = Array.from({ length: T }, (_, j) => part(j, 1));
      const values = Array.from({ length: T }, (_, j) => part(j, 2));
      const weights = matrix(T, T);
      for (let i = 0; i < T; i++) {
        const query = part(i, 0);
        const scores = new Float32Array(T).fill(-Infinity); // too far away: a weight of 0
        const [first, last] = [Math.max(0, i - reach), Math.min(T - 1, i + reach)];
        for (let j = first; j <= last; j++) {
          let product = 0;
          for (let c = 0; c < hs; c++) product += query[c] * keys[j][c];
          scores[j] = product / Math.sqrt(hs);
        }
        row(weights, i).set(softmax(scores));
        const output = row(y, i).subarray(head * hs, (head + 1) * hs); // the average of values
        for (let j = first; j <= last; j++) {
          const weight = weights.data[i * T + j];
          for (let c = 0; c < hs; c++) output[c] += weight * values[j][c];
        }
      }
      maps.push(weights);
    }
    return [this.linear(y, `blocks.${layer}.attention.out_proj`), maps];
  }

  // Rotate each pair (x[c], x[c + hs/2]) of all queries and keys by an angle that grows with the
  // position. qkv (T, 3H) is changed.
  applyRotary(qkv, isLocal) {
    const { hidden_size: H, num_attention_heads: nh } = this.config;
    const theta = isLocal ? this.config.local_rope_theta : this.config.global_rope_theta;
    const hs = H / nh;
    for (let t = 0; t < qkv.rows; t++) {
      for (let c = 0; c < hs / 2; c++) {
        const angle = t / theta ** (2 * c / hs);
        const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
        for (let start = c; start < 2 * H; start += hs) { // each head's queries, then its keys
          const first = t * 3 * H + start;
          const second = first + hs / 2;
          const [x1, x2] = [qkv.data[first], qkv.data[second]];
          qkv.data[first] = x1 * cos - x2 * sin;
          qkv.data[second] = x2 * cos + x1 * sin;
        }
      }
    }
  }

  // x (T, H) -> (T, H), each token by itself
  mlp(x, layer) {
    let inner = this.linear(x, `blocks.${layer}.mlp.up_proj`); // (T, I), gated (T, 2I)
    if (this.config.gated) {
      const I = inner.columns / 2;
      const gated = matrix(x.rows, I);
      for (let t = 0; t < x.rows; t++) {
        const [gate, value] = [row(inner, t).subarray(0, I), row(inner, t).subarray(I)];
        row(gated, t).set(gate.map((g, i) => this.activation(g) * value[i]));
      }
      inner = gated;
    } else {
      inner.data = inner.data.map(this.activation);
    }
    return this.linear(inner, `blocks.${layer}.mlp.down_proj`);
  }

  // x (T, H) -> [x (T, H), attention weights]
  block(x, layer) {
    const norm = (vectors, name) => this.layerNorm(vectors, `blocks.${layer}.${name}`);
    if (this.config.pre_norm) { // ModernBERT normalizes the input of each branch
      const [y, maps] = this.attention(norm(x, "attention_norm"), layer);
      x = add(x, y);
      return [add(x, this.mlp(norm(x, "mlp_norm"), layer)), maps];
    }
    const [y, maps] = this.attention(x, layer); // BERT normalizes the sums
    x = norm(add(x, y), "attention_norm");
    return [norm(add(x, this.mlp(x, layer)), "mlp_norm"), maps];
  }

  // ids -> {hidden, attention}, a list for each: layer after layer, (T, H) and nh times (T, T)
  forward(ids) {
    let x = this.embeddings(ids);
    const hidden = [];
    const attention = [];
    for (let layer = 0; layer < this.config.num_hidden_layers; layer++) {
      let maps;
      [x, maps] = this.block(x, layer);
      attention.push(maps);
      // Only the last of these goes through the norm in a pre-norm model. The others do here, so
      // that the MLM head can read them.
      hidden.push(this.layerNorm(x, "final_norm"));
    }
    return { hidden, attention };
  }

  // hidden (M, H) -> logits (M, V). The output layer reuses the token embeddings.
  mlmHead(hidden) {
    const x = this.linear(hidden, "head.dense");
    x.data = x.data.map(this.headActivation);
    const { "embeddings.token.weight": tokens, "head.bias": bias } = this.weights;
    return linear(this.layerNorm(x, "head.norm"), tokens, bias);
  }
}
