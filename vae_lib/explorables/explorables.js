/*
 * The interactive figures of the course.
 *
 * One classic script: no module, no library, no address of another host. The same bytes run in the
 * book, from a disk, in a live notebook, and in node, where the tests compare the arithmetic with
 * vae_lib. It sets one global, VaeFigures = {version, kinds, add, kit, mountAll, render, …arithmetic}.
 * The scripts in figures/ come after it, one for each chapter, and add their figures with VaeFigures.add.
 *
 * A figure is <div class="vae-figure" data-vae-figure="KIND"> that holds a poster (class vae-static,
 * what stays without scripts) and its numbers as JSON. Everything is in nats.
 */
(function (root) {
  "use strict";
  const VERSION = "0.1.0";
  if (root.VaeFigures && root.VaeFigures.version === VERSION) return;

  // ───────────────────────────── Arithmetic ─────────────────────────────

  const LOG_2PI = Math.log(2 * Math.PI);

  function linspace(from, to, count) {
    const step = (to - from) / (count - 1);
    return Float64Array.from({ length: count }, (_, i) => from + i * step);
  }

  function normalLogPdf(x, mean, variance) {
    return -0.5 * (LOG_2PI + Math.log(variance) + (x - mean) ** 2 / variance);
  }

  /** ln Σ exp(values), without overflow. */
  function logSumExp(values) {
    let top = -Infinity;
    for (const value of values) if (value > top) top = value;
    if (!Number.isFinite(top)) return top;
    let sum = 0;
    for (const value of values) sum += Math.exp(value - top);
    return top + Math.log(sum);
  }

  /** KL(N(meanQ, varQ) ‖ N(meanP, varP)) in one dimension. */
  function klGaussian(meanQ, varQ, meanP, varP) {
    const ratio = varQ / varP;
    return 0.5 * ((meanQ - meanP) ** 2 / varP + ratio - 1 - Math.log(ratio));
  }

  // The bound and its gap: z ~ N(0, 1), x | z ~ N(w z, s²), q = N(m, v).

  function linearGaussian({ w, s, x, m, v }) {
    const noise = s * s;
    const evidenceVariance = w * w + noise;
    const posteriorMean = (w * x) / evidenceVariance;
    const posteriorVariance = noise / evidenceVariance;
    const reconstruction =
      -0.5 * (LOG_2PI + Math.log(noise)) - ((x - w * m) ** 2 + w * w * v) / (2 * noise);
    const rate = klGaussian(m, v, 0, 1);
    const logEvidence = normalLogPdf(x, 0, evidenceVariance);
    return {
      logEvidence, posteriorMean, posteriorVariance, reconstruction, rate,
      elbo: reconstruction - rate,
      gap: klGaussian(m, v, posteriorMean, posteriorVariance),
      eubo: logEvidence + klGaussian(posteriorMean, posteriorVariance, m, v),
    };
  }

  /**
   * The IWAE bound with k samples of the linear-Gaussian model, without sampling.
   *
   * With r = w / p(x), a mean of k copies S has E ln S = ∫ [exp(−eᵘ) − φ(u)ᵏ] du, where
   * φ(u) = E_q exp(−eᵘ r / k) is a one-dimensional integral. Both by the trapezoid rule.
   */
  function iwaeBound(state, k, points = 801) {
    const { logEvidence, posteriorMean, posteriorVariance, elbo } = linearGaussian(state);
    if (k === 1) return elbo;
    const { m, v } = state;
    const step = 18 / (points - 1);
    const nodes = Array.from(linspace(-9, 9, points), (e) => {
      const z = m + Math.sqrt(v) * e;
      const logRatio =
        normalLogPdf(z, posteriorMean, posteriorVariance) - normalLogPdf(z, m, v);
      return [logRatio, Math.exp(normalLogPdf(e, 0, 1)) * step];
    }).sort((one, other) => one[0] - other[0]);
    const logRatio = Float64Array.from(nodes, (node) => node[0]);
    const weight = Float64Array.from(nodes, (node) => node[1]);
    // below[i] = ln Σ_{j<i} weight·r and above[i] = Σ_{j≥i} weight: outside the narrow band where
    // exp(−y) is neither 1 − y nor 0, a whole block of nodes costs one look-up.
    const below = new Float64Array(points + 1).fill(-Infinity);
    const above = new Float64Array(points + 1);
    for (let i = 0; i < points; i++) {
      below[i + 1] = logSumExp([below[i], Math.log(weight[i]) + logRatio[i]]);
    }
    for (let i = points - 1; i >= 0; i--) above[i] = above[i + 1] + weight[i];
    const du = 0.5;
    let sum = 0;
    let first = points;
    for (let u = -40; ; u += du) {
      const shift = u - Math.log(k);
      while (first > 0 && logRatio[first - 1] + shift >= -23) first--;
      let complement = Math.exp(below[first] + shift); // 1 − φ(u)
      let i = first;
      for (; i < points && logRatio[i] + shift < 3.7; i++) {
        complement -= weight[i] * Math.expm1(-Math.exp(logRatio[i] + shift));
      }
      complement += above[i];
      const logPower = complement < 1 ? k * Math.log1p(-complement) : -Infinity;
      const power = Math.exp(logPower);
      sum += Math.exp(-Math.exp(u)) - power;
      if (u > 5 && power < 1e-14) return logEvidence + du * sum;
    }
  }

  // Networks whose weights travel with the page.

  function decodeFloats(base64) {
    const text = atob(base64);
    const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float64Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  }

  function decodeBytes(base64) {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  }

  /** erf by its series near 0 and its continued fraction far out: full double precision. */
  function erf(x) {
    const t = Math.abs(x);
    if (t > 6) return Math.sign(x);
    if (t < 2.5) {
      let term = x;
      let sum = x;
      for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
        term *= (-x * x) / n;
        sum += term / (2 * n + 1);
      }
      return (2 / Math.sqrt(Math.PI)) * sum;
    }
    let tail = 0;
    for (let n = 60; n >= 1; n--) tail = (n / 2) / (t + tail);
    return Math.sign(x) * (1 - Math.exp(-t * t) / (Math.sqrt(Math.PI) * (t + tail)));
  }

  const activations = {
    tanh: Math.tanh,
    relu: (x) => (x > 0 ? x : 0),
    sigmoid: (x) => 1 / (1 + Math.exp(-x)),
    silu: (x) => x / (1 + Math.exp(-x)),
    softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
    elu: (x) => (x > 0 ? x : Math.expm1(x)),
    gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  };

  /** The layers of a spec, ready for mlp: weights as float64, row by row. */
  function readLayers(spec) {
    return spec.map((layer) => ({
      outputs: layer.shape[0],
      inputs: layer.shape[1],
      weight: decodeFloats(layer.weight),
      bias: decodeFloats(layer.bias),
      activation: layer.activation === null ? null : activations[layer.activation],
    }));
  }

  function mlp(layers, input) {
    let values = input;
    for (const { inputs, outputs, weight, bias, activation } of layers) {
      const next = new Float64Array(outputs);
      for (let i = 0; i < outputs; i++) {
        let sum = bias[i];
        const row = i * inputs;
        for (let j = 0; j < inputs; j++) sum += weight[row + j] * values[j];
        next[i] = activation ? activation(sum) : sum;
      }
      values = next;
    }
    return values;
  }

  /** vae_lib.networks.bounded_log_var: the identity inside [−6, 6], a logarithm outside. */
  function boundedLogVar(raw) {
    const excess = Math.abs(raw) - 6;
    return excess <= 0 ? raw : Math.sign(raw) * (6 + Math.log1p(excess));
  }

  function encode(encoder, x) {
    const output = mlp(encoder, x);
    const latent = output.length / 2;
    return {
      mean: Array.from(output.subarray(0, latent)),
      std: Array.from(output.subarray(latent), (raw) => Math.exp(0.5 * boundedLogVar(raw))),
    };
  }

  function bernoulliLogLikelihood(x, logits) {
    let sum = 0;
    for (let i = 0; i < logits.length; i++) sum += x[i] * logits[i] - activations.softplus(logits[i]);
    return sum;
  }

  /** ELBO of one image under a decoder with two latents, E_q by the trapezoid rule around q. */
  function planeElbo(decoder, x, { mean, std }, points = 41, halfWidth = 7) {
    const nodes = linspace(-halfWidth, halfWidth, points);
    const weights = nodes.map((e) => Math.exp(-0.5 * e * e));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const z = [0, 0];
    let reconstruction = 0;
    for (let i = 0; i < points; i++) {
      z[0] = mean[0] + std[0] * nodes[i];
      for (let j = 0; j < points; j++) {
        const weight = (weights[i] / total) * (weights[j] / total);
        if (weight < 1e-12) continue;
        z[1] = mean[1] + std[1] * nodes[j];
        reconstruction += weight * bernoulliLogLikelihood(x, mlp(decoder, z));
      }
    }
    const rate = klGaussian(mean[0], std[0] ** 2, 0, 1) + klGaussian(mean[1], std[1] ** 2, 0, 1);
    return { reconstruction, rate, elbo: reconstruction - rate };
  }

  /**
   * The decoder on a grid of the latent plane. The logits do not depend on x, so they are computed
   * once, some rows at a time, and ln p(x) of any image is then one pass over the table.
   */
  function planeGrid(decoder, pixels, points, halfWidth) {
    const axis = linspace(-halfWidth, halfWidth, points);
    const cell = (2 * halfWidth) / (points - 1);
    const logMeasure = axis.map((z, i) => {
      const end = i === 0 || i === points - 1;
      return normalLogPdf(z, 0, 1) + Math.log(cell) - (end ? Math.LN2 : 0);
    });
    const logits = new Float64Array(points * points * pixels);
    const softplus = new Float64Array(points * points);
    let rows = 0;
    return {
      axis, points,
      get progress() { return rows / points; },
      addRow() {
        for (let j = 0; j < points; j++) {
          const output = mlp(decoder, [axis[j], axis[rows]]);
          const node = rows * points + j;
          logits.set(output, node * pixels);
          let sum = 0;
          for (let d = 0; d < pixels; d++) sum += activations.softplus(output[d]);
          softplus[node] = sum;
        }
        rows += 1;
      },
      /** ln [p(x|z) p(z) dz] at every node, and ln p(x), their logSumExp. */
      evidence(x) {
        const on = [];
        for (let d = 0; d < pixels; d++) if (x[d] > 0.5) on.push(d);
        const logJoint = new Float64Array(points * points);
        for (let i = 0; i < points; i++) {
          for (let j = 0; j < points; j++) {
            const node = i * points + j;
            let sum = logMeasure[i] + logMeasure[j] - softplus[node];
            const offset = node * pixels;
            for (let d = 0; d < on.length; d++) sum += logits[offset + on[d]];
            logJoint[node] = sum;
          }
        }
        return { logJoint, logEvidence: logSumExp(logJoint) };
      },
    };
  }

  /** ln p(x) of an image under a Bernoulli decoder with two latents. */
  function gridLogEvidence(decoder, x, points = 161, halfWidth = 8) {
    const grid = planeGrid(decoder, x.length, points, halfWidth);
    while (grid.progress < 1) grid.addRow();
    return grid.evidence(x).logEvidence;
  }

  /** Random numbers in [0, 1) that are the same on every machine. */
  function uniforms(seed, count) {
    let state = seed >>> 0;
    return Float64Array.from({ length: count }, () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    });
  }

  /** A black-and-white image as hexadecimal digits, four pixels each, and back. */
  function bitsToHex(bits) {
    let text = "";
    for (let i = 0; i < bits.length; i += 4) {
      let digit = 0;
      for (let j = 0; j < 4; j++) digit = 2 * digit + (bits[i + j] ? 1 : 0);
      text += digit.toString(16);
    }
    return text;
  }

  function hexToBits(text, count) {
    return Uint8Array.from({ length: count }, (_, i) =>
      (parseInt(text[i >> 2], 16) >> (3 - (i & 3))) & 1);
  }

  /** The line where a field (rows over ys, columns over xs) has the value level, as segments. */
  function contour(field, xs, ys, level) {
    const segments = [];
    for (let i = 0; i + 1 < ys.length; i++) {
      for (let j = 0; j + 1 < xs.length; j++) {
        const above = field[i][j] >= level;
        if (above === field[i][j + 1] >= level && above === field[i + 1][j + 1] >= level &&
            above === field[i + 1][j] >= level) continue;
        const corners = [
          [xs[j], ys[i], field[i][j]], [xs[j + 1], ys[i], field[i][j + 1]],
          [xs[j + 1], ys[i + 1], field[i + 1][j + 1]], [xs[j], ys[i + 1], field[i + 1][j]],
        ];
        const crossings = [];
        for (let side = 0; side < 4; side++) {
          const [x0, y0, f0] = corners[side];
          const [x1, y1, f1] = corners[(side + 1) % 4];
          if (f0 < level !== f1 < level) {
            const t = (level - f0) / (f1 - f0);
            crossings.push([x0 + t * (x1 - x0), y0 + t * (y1 - y0)]);
          }
        }
        for (let c = 0; c + 1 < crossings.length; c += 2) {
          segments.push([crossings[c], crossings[c + 1]]);
        }
      }
    }
    return segments;
  }

  // ───────────────────────────── Numbers as text ─────────────────────────────

  /** ASCII digits and hyphen: what a reader copies from a figure pastes into Python. */
  function number(value, digits = 3) {
    if (!Number.isFinite(value)) return String(value);
    const text = value.toFixed(Math.abs(value) >= 1000 ? Math.min(digits, 1) : digits);
    return /^-[0.]*$/.test(text) ? text.slice(1) : text;
  }

  /** The same for labels inside a drawing, with a true minus sign. */
  function label(value, digits = 3) {
    return number(value, digits).replace("-", "−");
  }

  const NICE = [1, 2, 5];

  /** The smallest of …, 1, 2, 5, 10, 20, … that is at least value. */
  function niceAbove(value) {
    const power = 10 ** Math.floor(Math.log10(value));
    for (const digit of NICE) if (digit * power >= value * (1 - 1e-12)) return digit * power;
    return 10 * power;
  }

  function ticks(from, to, count) {
    const step = niceAbove((to - from) / count);
    const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const values = [];
    for (let i = Math.ceil(from / step - 1e-9); i * step <= to + 1e-9 * step; i++) {
      values.push({ value: i * step, text: label(i * step, decimals) });
    }
    return values;
  }

  // ───────────────────────────── Page elements ─────────────────────────────

  const SVG = "http://www.w3.org/2000/svg";
  let count = 0;

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) {
        node.setAttribute(name, value);
      }
    }
    node.append(...children.filter((child) => child !== null));
    return node;
  }

  const html = (tag, attributes, ...children) =>
    fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) =>
    fill(document.createElementNS(SVG, tag), attributes, children);

  const reducedMotion = () => root.matchMedia("(prefers-reduced-motion: reduce)").matches;

  /** A live notebook has one address for many notebooks: a figure must not write its state there. */
  const ownsAddress = () =>
    ["http:", "https:", "file:"].includes(location.protocol) &&
    document.getElementById("jupyter-config-data") === null;

  /** A colour variable of the figure as [r, g, b], for a canvas. */
  function rgb(node, variable) {
    const pen = html("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
    pen.fillStyle = getComputedStyle(node).getPropertyValue(variable).trim();
    pen.fillRect(0, 0, 1, 1);
    return Array.from(pen.getImageData(0, 0, 1, 1).data.subarray(0, 3));
  }

  /** Paint values in [0, 1], 0 black and 1 white as in vae_lib.figures, one canvas pixel each. */
  function paintImage(canvas, values, side) {
    canvas.width = side;
    canvas.height = values.length / side;
    const pen = canvas.getContext("2d");
    const picture = pen.createImageData(canvas.width, canvas.height);
    for (let i = 0; i < values.length; i++) {
      const grey = 255 * values[i];
      picture.data.set([grey, grey, grey, 255], 4 * i);
    }
    pen.putImageData(picture, 0, 0);
  }

  const GROUND = 128 / 255;

  /** Paint images next to each other, with a grey line between them. */
  function paintStrip(canvas, images, side) {
    const width = images.length * (side + 1) - 1;
    const values = new Float64Array(width * side).fill(GROUND);
    images.forEach((image, i) => {
      for (let row = 0; row < side; row++) {
        values.set(image.subarray(row * side, (row + 1) * side), row * width + i * (side + 1));
      }
    });
    paintImage(canvas, values, width);
  }

  /** A coordinate to a tenth of a pixel; toFixed would take most of a frame. */
  const tenth = (value) => Math.round(10 * value) / 10;

  /** Keep a drawing area at the width of the page; remembers the width so that drawing reads none. */
  class Panel {
    constructor(figure, { height, margin, title }) {
      this.margin = { top: 8, right: 10, bottom: 34, left: 46, ...margin };
      this.heightFor = typeof height === "function" ? height : () => height;
      this.marks = new Map();
      this.svg = svg("svg", { role: "img", "aria-label": title });
      this.node = html("div", { class: "vae-panel" }, this.svg);
      this.width = 0;
      this.height = 0;
      figure.watch(this.node, (width) => {
        this.width = width;
        this.height = this.heightFor(width);
        fill(this.svg, { width, height: this.height, viewBox: `0 0 ${width} ${this.height}` }, []);
      });
    }

    get left() { return this.margin.left; }
    get right() { return this.width - this.margin.right; }
    get top() { return this.margin.top; }
    get bottom() { return this.height - this.margin.bottom; }

    X(value) {
      const [from, to] = this.xDomain;
      return this.left + ((value - from) / (to - from)) * (this.right - this.left);
    }

    Y(value) {
      const [from, to] = this.yDomain;
      return this.bottom - ((value - from) / (to - from)) * (this.bottom - this.top);
    }

    invert(px, py) {
      const [x0, x1] = this.xDomain;
      const [y0, y1] = this.yDomain;
      return [
        x0 + ((px - this.left) / (this.right - this.left)) * (x1 - x0),
        y0 + ((this.bottom - py) / (this.bottom - this.top)) * (y1 - y0),
      ];
    }

    /** An element that lives on between drawings; `false` as attributes hides it. */
    mark(name, tag, cls, attributes, text) {
      let node = this.marks.get(name);
      if (!node) {
        node = svg(tag, { class: cls });
        this.marks.set(name, node);
        this.svg.append(node);
      }
      node.style.display = attributes === false ? "none" : "";
      if (attributes) for (const key in attributes) node.setAttribute(key, attributes[key]);
      if (text !== undefined && node.textContent !== text) node.textContent = text;
      return node;
    }

    text(name, cls, x, y, text, anchor = "start") {
      return this.mark(name, "text", `vae-text ${cls}`, { x, y, "text-anchor": anchor }, text);
    }

    /** Axes for the domains. Drawn again only when a domain or the size has changed. */
    axes(xDomain, yDomain, { x, y, yTicks = 3, grid = true } = {}) {
      this.xDomain = xDomain;
      this.yDomain = yDomain;
      const key = [this.width, this.height, ...xDomain, ...yDomain].join();
      if (this.axesKey === key) return;
      this.axesKey = key;
      const group = this.mark("axes", "g", "vae-axes", {});
      group.replaceChildren();
      const { left, right, top, bottom } = this;
      for (const { value, text } of ticks(...xDomain, Math.max(3, Math.round((right - left) / 45)))) {
        const at = this.X(value);
        group.append(
          svg("line", { x1: at, x2: at, y1: bottom, y2: bottom + 4, class: "vae-tick" }),
          svg("text", { x: at, y: bottom + 16, "text-anchor": "middle", class: "vae-text" }, text));
      }
      for (const { value, text } of ticks(...yDomain, yTicks)) {
        const at = this.Y(value);
        group.append(
          svg("line", { x1: grid ? left : left - 4, x2: grid ? right : left, y1: at, y2: at,
            class: value === 0 && grid ? "vae-zero" : "vae-grid" }),
          svg("text", { x: left - 6, y: at + 4, "text-anchor": "end", class: "vae-text" }, text));
      }
      if (x) {
        group.append(svg("text", { x: right, y: bottom + 31, "text-anchor": "end",
          class: "vae-text vae-axis" }, x));
      }
      if (y) {
        group.append(svg("text", { x: 12, y: (top + bottom) / 2, "text-anchor": "middle",
          class: "vae-text vae-axis", transform: `rotate(-90 12 ${(top + bottom) / 2})` }, y));
      }
    }

    curve(name, cls, xs, ys) {
      let d = "";
      for (let i = 0; i < xs.length; i++) {
        d += `${i ? "L" : "M"}${tenth(this.X(xs[i]))} ${tenth(this.Y(ys[i]))}`;
      }
      return this.mark(name, "path", `vae-curve ${cls}`, { d });
    }

    area(name, cls, xs, ys) {
      let d = `M${tenth(this.X(xs[0]))} ${tenth(this.Y(0))}`;
      for (let i = 0; i < xs.length; i++) {
        d += `L${tenth(this.X(xs[i]))} ${tenth(this.Y(ys[i]))}`;
      }
      d += `L${tenth(this.X(xs[xs.length - 1]))} ${tenth(this.Y(0))}Z`;
      return this.mark(name, "path", `vae-area ${cls}`, { d });
    }
  }

  const mounted = new Set(); // of WeakRef: a figure (node.vaeFigure) lives as long as its element

  function* liveFigures() {
    for (const reference of mounted) {
      const node = reference.deref();
      if (!node) mounted.delete(reference);
      else if (node.isConnected) yield node.vaeFigure;
    }
  }

  /** One mounted figure: its parameters, its controls, its state in the address, its drawing. */
  class Figure {
    constructor(node) {
      this.node = node;
      this.kind = node.dataset.vaeFigure;
      this.spec = JSON.parse(node.querySelector("script[type='application/json']").textContent);
      this.uid = `vae-${this.kind}-${++count}`;
      const names = Array.from(liveFigures(), (other) => other.name);
      this.name = this.kind;
      for (let i = 2; names.includes(this.name); i++) this.name = `${this.kind}-${i}`;
      this.params = new Map();
      this.state = {};
      this.controls = [];
      this.watched = new Map(); // element → its width, and what to do when it changes
      this.status = html("p", { class: "vae-live vae-sr", role: "status" });
      this.body = html("div", { class: "vae-live" });
      this.sizes = new ResizeObserver((entries) => {
        for (const { target, contentRect } of entries) {
          const watched = this.watched.get(target);
          watched.width = contentRect.width;
          if (watched.width > 0) watched.resized(watched.width);
        }
        this.schedule();
      });
    }

    // Parameters: clean(value) returns a valid value or undefined; write(value) is for the address.

    define(key, value, clean, write = String) {
      this.params.set(key, { value, clean, write });
      this.state[key] = value;
    }

    id(key) { return `${this.uid}-${key}`; }

    /** A number with a slider. `log` makes the slider's steps ratios. */
    slider(key, { text, min, max, step, value, log = false, digits = 2, unit = "", cls = "" }) {
      this.define(key, value, (raw) => {
        const parsed = typeof raw === "string" && raw.trim() === "" ? NaN : Number(raw);
        return Number.isFinite(parsed) ? Math.min(max, Math.max(min, parsed)) : undefined;
      }, (number) => String(Number(number.toPrecision(5))));
      this.params.get(key).log = log;
      const to = log ? Math.log10 : (number) => number;
      const from = log ? (number) => Number((10 ** number).toPrecision(3)) : Number;
      const input = html("input", {
        type: "range", id: this.id(key), min: to(min), max: to(max), step,
        oninput: () => this.set({ [key]: from(Number(input.value)) }),
      });
      const output = html("output", { for: this.id(key), "aria-live": "off" });
      this.controls.push(() => {
        const shown = `${log ? Number(this.state[key].toPrecision(3)) : number(this.state[key], digits)}`;
        if (output.textContent !== shown) output.textContent = shown;
        input.value = to(this.state[key]);
        input.setAttribute("aria-valuetext", `${shown} ${unit}`.trim());
      });
      return html("div", { class: `vae-row ${cls}` },
        html("label", { for: this.id(key) }, text), input, output);
    }

    /** A slider over a list of numbers. */
    pick(key, { text, values, value, format = String }) {
      this.define(key, value, (raw) => {
        const parsed = Number(raw);
        return values.includes(parsed) ? parsed : undefined;
      });
      const input = html("input", {
        type: "range", id: this.id(key), min: 0, max: values.length - 1, step: 1,
        oninput: () => this.set({ [key]: values[Number(input.value)] }),
      });
      const output = html("output", { for: this.id(key), "aria-live": "off" });
      this.controls.push(() => {
        output.textContent = format(this.state[key]);
        input.value = values.indexOf(this.state[key]);
        input.setAttribute("aria-valuetext", format(this.state[key]));
      });
      return html("div", { class: "vae-row" },
        html("label", { for: this.id(key) }, text), input, output);
    }

    /** A choice as radio buttons. options: [[value, text], …] */
    choice(key, { text, options, value }) {
      const values = options.map((option) => option[0]);
      this.define(key, value, (raw) => (values.includes(String(raw)) ? String(raw) : undefined));
      const inputs = options.map(([option]) => html("input", {
        type: "radio", name: this.id(key), value: option,
        onchange: () => this.set({ [key]: option }),
      }));
      this.controls.push(() => {
        for (const input of inputs) input.checked = input.value === this.state[key];
      });
      return html("fieldset", { class: "vae-choice" }, html("legend", {}, text),
        ...options.map(([, caption], i) => html("label", {}, inputs[i], html("span", {}, caption))));
    }

    button(text, action) {
      const click = typeof action === "function" ? action : () => this.animate(action);
      return html("button", { type: "button", class: "vae-button", onclick: click }, text);
    }

    reset(text = "Reset") {
      return this.button(text, () => {
        this.animate(Object.fromEntries([...this.params].map(([key, { value }]) => [key, value])));
      });
    }

    /** A number in words: "name = value unit". Its text can be selected and pasted. */
    readout(name, cls, unit = "nats") {
      const output = html("output", { class: "vae-number", "aria-live": "off" });
      const node = html("span", { class: `vae-readout ${cls}` },
        html("span", { class: "vae-name" }, name), " = ", output, unit ? ` ${unit}` : "");
      return { node, set: (value, digits) => {
        const text = typeof value === "string" ? value : number(value, digits);
        if (output.textContent !== text) output.textContent = text;
      } };
    }

    panel(options) { return new Panel(this, options); }

    watch(node, resized) {
      this.watched.set(node, { width: 0, resized });
      this.sizes.observe(node);
    }

    set(patch) {
      cancelAnimationFrame(this.tween);
      this.change(patch);
      clearTimeout(this.remembering);
      this.remembering = setTimeout(() => this.remember(), 250);
    }

    change(patch) {
      for (const [key, raw] of Object.entries(patch)) {
        const value = this.params.get(key)?.clean(raw);
        if (value !== undefined) this.state[key] = value;
      }
      this.schedule();
    }

    /** Move to a state in a third of a second, or at once where the reader asked for no motion. */
    animate(patch) {
      const from = { ...this.state };
      const moving = Object.keys(patch).filter((key) => typeof from[key] === "number");
      if (reducedMotion() || moving.length === 0) return this.set(patch);
      const start = performance.now();
      cancelAnimationFrame(this.tween);
      const frame = (now) => {
        const t = Math.min(1, (now - start) / 320);
        if (t >= 1) return this.set(patch);
        const ease = t * t * (3 - 2 * t);
        const step = { ...patch };
        for (const key of moving) {
          step[key] = this.params.get(key).log
            ? from[key] * (patch[key] / from[key]) ** ease
            : from[key] + (patch[key] - from[key]) * ease;
        }
        this.change(step);
        this.tween = requestAnimationFrame(frame);
      };
      this.tween = requestAnimationFrame(frame);
    }

    schedule() {
      if (this.frame || !this.paint) return;
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.draw();
      });
    }

    draw() {
      for (const { width } of this.watched.values()) if (width === 0) return; // not on the page yet
      for (const sync of this.controls) sync();
      const words = this.paint(this.state);
      clearTimeout(this.announcing);
      if (words && this.words && words !== this.words) {
        this.announcing = setTimeout(() => { this.status.textContent = words; }, 600);
      }
      this.words = words;
    }

    // The address: #name:key=value,key=value

    address() {
      const pairs = [...this.params].map(([key, { write }]) => `${key}=${write(this.state[key])}`);
      return `#${this.name}:${pairs.join(",")}`;
    }

    remember() {
      if (this.params.size === 0 || !ownsAddress() || !this.node.isConnected) return;
      if (location.hash !== this.address()) history.replaceState(history.state, "", this.address());
    }

    read(text) {
      const patch = {};
      for (const pair of text.split(",")) {
        const at = pair.indexOf("=");
        if (at > 0) patch[pair.slice(0, at).trim()] = pair.slice(at + 1).trim();
      }
      cancelAnimationFrame(this.tween);
      this.change(patch);
    }

    show() {
      this.node.scrollIntoView({ behavior: reducedMotion() ? "auto" : "smooth", block: "center" });
    }
  }

  /** Set and show the figure that an address names. An address of something else is left alone. */
  function followAddress(hash) {
    const match = /^#([a-z][a-z0-9-]*)(?::(.*))?$/.exec(hash.replace(/%3A/gi, ":")
      .replace(/%2C/gi, ",").replace(/%3D/gi, "="));
    if (!match) return;
    for (const figure of liveFigures()) {
      if (figure.name !== match[1]) continue;
      if (match[2]) figure.read(match[2]);
      figure.show();
    }
  }

  /**
   * Drag on an area and move on it with the arrow keys.
   * grab(px, py) is called first; move(px, py, grabbed) on every motion; nudge(dx, dy, big) on keys.
   */
  function pad(node, text, { grab = () => null, move, nudge }) {
    fill(node, { tabindex: 0, role: "application", "aria-label": text, class: `${node.className} vae-pad` }, []);
    let grabbed = null;
    const at = (event) => {
      const box = node.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    node.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      node.setPointerCapture(event.pointerId);
      node.focus({ preventScroll: true });
      grabbed = grab(...at(event));
      move(...at(event), grabbed, true);
      event.preventDefault();
    });
    node.addEventListener("pointermove", (event) => {
      if (node.hasPointerCapture(event.pointerId)) move(...at(event), grabbed, false);
    });
    node.addEventListener("keydown", (event) => {
      const directions = {
        ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1],
      };
      const direction = directions[event.key];
      if (!direction || event.ctrlKey || event.altKey || event.metaKey) return;
      nudge(...direction, event.shiftKey);
      event.preventDefault();
      event.stopPropagation(); // the book turns pages with the arrow keys
    });
  }

  const round = (value, step) => Number((Math.round(value / step) * step).toFixed(6));

  // ───────────────────────────── The figures ─────────────────────────────

  const kinds = {};

  /**
   * Bars against the exact ln p(x): one ink line across the whole panel at a fixed height.
   * Below it stands the ELBO with its gap on top, and what else bounds from below; from above hangs
   * the EUBO. Only the scale changes, in steps, so the line never moves.
   */
  function ladder(panel, { evidence, elbo, gap, below = [], above = null }) {
    const line = panel.top + 0.3 * (panel.bottom - panel.top);
    const depth = panel.bottom - line;
    const span = niceAbove(1.3 * Math.max(gap, 0.3));
    const y = (value) => line + ((evidence - value) / span) * depth;
    const axisKey = [panel.width, panel.height, span, evidence].join();
    if (panel.axesKey !== axisKey) {
      panel.axesKey = axisKey;
      const group = panel.mark("axes", "g", "vae-axes", {});
      group.replaceChildren();
      for (const { value, text } of ticks(evidence - span, evidence + (span * 3) / 7, 5)) {
        const at = y(value);
        if (at < panel.top - 1 || at > panel.bottom + 1) continue;
        group.append(
          svg("line", { x1: panel.left, x2: panel.right, y1: at, y2: at, class: "vae-grid" }),
          svg("text", { x: panel.left - 6, y: at + 4, "text-anchor": "end", class: "vae-text" },
            Math.abs(at - line) < 9 ? "" : text));
      }
      group.append(svg("text", { x: 12, y: (panel.top + panel.bottom) / 2, "text-anchor": "middle",
        class: "vae-text vae-axis", transform: `rotate(-90 12 ${(panel.top + panel.bottom) / 2})` }, "nats"));
    }
    const columns = 1 + below.length + (above ? 1 : 0);
    const pitch = (panel.right - panel.left) / columns;
    // on a phone the bars nearly touch: a label needs 98 pixels
    const width = Math.min(150, Math.max(0.72 * pitch, Math.min(98, 0.98 * pitch)));
    const centre = (i) => panel.left + (i + 0.5) * pitch;
    const bar = (name, cls, i, from, to) => panel.mark(name, "rect", `vae-bar ${cls}`,
      { x: centre(i) - width / 2, width, y: from, height: Math.max(0, to - from) });
    const bottomText = (name, i, text) =>
      panel.text(`${name} name`, "", centre(i), panel.bottom + 17, text, "middle");

    bar("elbo", "vae-elbo", 0, y(elbo), panel.bottom);
    bar("gap", "vae-gap", 0, line, y(elbo));
    panel.text("elbo text", "vae-on", centre(0), y(elbo) + 17, `ELBO ${label(elbo)}`, "middle");
    const tall = y(elbo) - line > 22;
    panel.text("gap text", tall ? "vae-on" : "vae-gap vae-halo", centre(0),
      tall ? (line + y(elbo)) / 2 + 4 : line - 6,
      `gap ${label(gap)}`, "middle").setAttribute("class",
      `vae-text ${tall ? "vae-on" : "vae-gap vae-halo"}`);
    bottomText("elbo", 0, "ELBO + gap");
    below.forEach(({ name, value }, i) => {
      bar(`below ${i}`, "vae-elbo vae-light", i + 1, y(value), panel.bottom);
      panel.text(`below text ${i}`, "vae-elbo vae-halo", centre(i + 1),
        Math.min(y(value) + 17, panel.bottom - 6), label(value), "middle");
      bottomText(`below ${i}`, i + 1, name);
    });
    if (above) {
      const i = columns - 1;
      const at = y(above.value);
      const off = at < panel.top + 4;
      bar("above", "vae-light", i, panel.top, Math.max(at, panel.top + 4));
      panel.text("above text", "vae-halo", centre(i), at > panel.top + 22 ? at - 7 : panel.top + 20,
        `${off ? "↑ " : ""}${above.name} ${label(above.value)}`, "middle");
    }
    panel.mark("evidence", "line", "vae-evidence", { x1: 0, x2: panel.width, y1: line, y2: line });
    // above the line the middle column is always free
    panel.text("evidence text", "vae-halo vae-strong", columns > 1 ? centre(1) : panel.width - 2,
      line - 7, `${panel.width > 500 ? "exact " : ""}ln p(x) = ${label(evidence)}`,
      columns > 1 ? "middle" : "end");
    return { line, y };
  }

  kinds["bound-and-gap"] = function (figure) {
    const { state, spec } = figure;
    const simple = spec.simple === true; // only q moves, and the ELBO is the only bound
    const bars = figure.panel({ height: 250, title: "The ELBO and its gap against the exact ln p(x)",
      margin: { top: 6, bottom: 26, right: 4, left: 52 } });
    const curves = figure.panel({ height: 230, title: "q, the posterior and the prior over z" });
    const readouts = {
      elbo: figure.readout("ELBO", "vae-elbo"),
      gap: figure.readout("KL(q‖posterior)", "vae-gap"),
      sum: figure.readout("their sum", ""),
      logEvidence: figure.readout("ln p(x)", "vae-strong"),
      iwae: figure.readout("IWAE bound", "vae-elbo"),
      eubo: figure.readout("EUBO", ""),
    };
    const m = figure.slider("m", { text: "mean m", min: -3, max: 3, step: 0.05, value: 0.2 });
    const v = figure.slider("v", { text: "variance v", min: 0.001, max: 4, step: 0.01, value: 0.5,
      log: true });
    const w = figure.slider("w", { text: "weight w", min: -2, max: 2, step: 0.05, value: 1 });
    const s = figure.slider("s", { text: "noise s", min: 0.1, max: 2, step: 0.01, value: 0.5, log: true });
    const x = figure.slider("x", { text: "datum x", min: -3, max: 3, step: 0.05, value: 1 });
    const k = figure.pick("k", { text: "samples K", values: [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000],
      value: 5 });

    pad(curves.node, "q over z. Drag the upper handle to move its mean m, the side handle to change " +
      "its width. Arrow keys: left and right move the mean, up and down change the width.", {
      grab: (px, py) => {
        const height = Math.exp(normalLogPdf(0, 0, state.v));
        const side = [curves.X(state.m + Math.sqrt(state.v)), curves.Y(height * Math.exp(-0.5))];
        const top = [curves.X(state.m), curves.Y(height)];
        const far = ([x0, y0]) => Math.hypot(px - x0, py - y0);
        return far(side) < far(top) ? "width" : "mean";
      },
      move: (px, py, grabbed, started) => {
        if (started) return;
        const [z] = curves.invert(px, py);
        if (grabbed === "mean") figure.set({ m: round(z, 0.05) });
        else figure.set({ v: Number((Math.max(Math.abs(z - state.m), 0.0317) ** 2).toPrecision(3)) });
      },
      nudge: (dx, dy, big) => figure.set({
        m: round(state.m + dx * (big ? 0.25 : 0.05), 0.05),
        v: Number((state.v * 10 ** (dy * (big ? 0.2 : 0.04))).toPrecision(3)),
      }),
    });

    const sets = (legend, ...rows) =>
      html("fieldset", { class: "vae-set" }, html("legend", {}, legend), ...rows);
    figure.body.append(
      bars.node,
      html("p", { class: "vae-head vae-readouts" },
        readouts.elbo.node, readouts.gap.node, readouts.sum.node, readouts.logEvidence.node,
        ...(simple ? [] : [readouts.iwae.node, readouts.eubo.node])),
      html("div", { class: "vae-columns" },
        html("div", {}, curves.node, html("div", { class: "vae-buttons" },
          figure.button("q := posterior", () => {
            const { posteriorMean, posteriorVariance } = linearGaussian(state);
            figure.animate({ m: posteriorMean, v: posteriorVariance });
          }),
          figure.button("q := prior", { m: 0, v: 1 }),
          ...(simple ? [] : [figure.button("The note's line 66", { m: 0, v: 1, w: 1, s: 0.1, x: 1 })]),
          figure.reset())),
        html("div", {}, sets("q = N(m, v)", m, v),
          ...(simple ? [] : [sets("Model: z ~ N(0, 1), x | z ~ N(w z, s²)", w, s, x), sets("IWAE", k)]))));

    const zs = linspace(-4, 4, 401);
    return function (current) {
      const exact = linearGaussian(current);
      const more = {};
      if (!simple) {
        const iwae = iwaeBound(current, current.k);
        more.below = [{ name: `IWAE, K = ${current.k}`, value: iwae }];
        more.above = { name: "EUBO", value: exact.eubo };
        readouts.iwae.set(iwae);
        readouts.eubo.set(exact.eubo);
      }
      ladder(bars, { evidence: exact.logEvidence, elbo: exact.elbo, gap: exact.gap, ...more });
      readouts.elbo.set(exact.elbo);
      readouts.gap.set(exact.gap);
      readouts.sum.set(exact.elbo + exact.gap);
      readouts.logEvidence.set(exact.logEvidence);

      const density = (mean, variance) => zs.map((z) => Math.exp(normalLogPdf(z, mean, variance)));
      const peak = (variance) => Math.exp(normalLogPdf(0, 0, variance));
      const highest = Math.max(peak(current.v), peak(exact.posteriorVariance), peak(1));
      curves.axes([-4, 4], [0, niceAbove(1.12 * highest)], { x: "z", y: "density" });
      const prior = density(0, 1);
      const posterior = density(exact.posteriorMean, exact.posteriorVariance);
      const q = density(current.m, current.v);
      curves.curve("prior", "vae-generative vae-dotted", zs, prior);
      curves.area("posterior area", "vae-generative", zs, posterior);
      curves.curve("posterior", "vae-generative", zs, posterior);
      curves.area("q area", "vae-inference", zs, q);
      curves.curve("q", "vae-inference vae-dashed", zs, q);
      curves.text("prior text", "vae-generative vae-halo", curves.X(-2.6),
        curves.Y(Math.exp(normalLogPdf(-2.6, 0, 1))) - 8, "prior p(z)", "middle");
      const besides = exact.posteriorMean >= current.m ? 1 : -1;
      const side = (mean, variance, sign) =>
        curves.X(Math.min(Math.max(mean + sign * 0.6 * Math.sqrt(variance), -3.4), 3.4)) + sign * 8;
      curves.text("posterior text", "vae-generative vae-halo",
        side(exact.posteriorMean, exact.posteriorVariance, besides),
        curves.Y(0.84 * peak(exact.posteriorVariance)), "posterior p(z|x)",
        besides > 0 === exact.posteriorMean < 2.2 ? "start" : "end");
      curves.text("q text", "vae-inference vae-halo", side(current.m, current.v, -besides),
        curves.Y(0.84 * peak(current.v)), "q(z|x)", besides > 0 ? "end" : "start");
      curves.mark("mean", "circle", "vae-handle vae-inference",
        { cx: curves.X(current.m), cy: curves.Y(peak(current.v)), r: 8 });
      curves.mark("width", "rect", "vae-handle vae-inference", {
        x: curves.X(current.m + Math.sqrt(current.v)) - 6,
        y: curves.Y(peak(current.v) * Math.exp(-0.5)) - 6, width: 12, height: 12, rx: 2 });
      return `ELBO ${number(exact.elbo, 2)}, gap ${number(exact.gap, 2)}, ` +
        `ln p(x) ${number(exact.logEvidence, 2)} nats`;
    };
  };

  const DIGIT_COLOURS = 10;

  kinds["latent-atlas"] = function (figure) {
    const { state, spec } = figure;
    const { side, extent } = spec;
    const pixels = side * side;
    const encoder = readLayers(spec.encoder);
    const decoder = readLayers(spec.decoder);
    const codes = spec.codes ? decodeFloats(spec.codes) : new Float64Array(0);
    const labels = spec.labels ? decodeBytes(spec.labels) : null;
    const gallery = spec.gallery.map((text) => hexToBits(text, pixels));
    const mean = (z) => mlp(decoder, z).map(activations.sigmoid);

    const plane = figure.panel({ height: (width) => Math.min(width, 400),
      title: "The latent plane", margin: { top: 8, right: 8, left: 34, bottom: 36 } });
    const under = html("canvas", { class: "vae-underlay vae-pixels", "aria-hidden": "true" });
    const heat = html("canvas", { class: "vae-underlay", "aria-hidden": "true" });
    plane.node.prepend(under, heat);
    const bars = figure.panel({ height: 190, title: "The ELBO of the image against its exact ln p(x)",
      margin: { top: 4, bottom: 26, right: 4, left: 52 } });

    const z1 = figure.slider("u", { text: "z₁", min: -extent, max: extent, step: 0.05, value: 0 });
    const z2 = figure.slider("v", { text: "z₂", min: -extent, max: extent, step: 0.05, value: 0 });
    const view = figure.choice("map", { text: "Map of", value: codes.length ? "codes" : "decoded",
      options: codes.length
        ? [["codes", "codes"], ["decoded", "decoded images"]]
        : [["decoded", "decoded images"]] });
    const digits = new RegExp(`^[0-9a-f]{${Math.ceil(pixels / 4)}}$`);
    const start = spec.gallery[0] || bitsToHex(mean([0, 0]).map((value) => value > 0.5));
    figure.define("x", start, (raw) => (digits.test(raw) ? raw : undefined));
    figure.define("draw", 1, (raw) => (/^\d{1,6}$/.test(String(raw)) ? Number(raw) : undefined));

    const picture = (title, cls = "") => {
      const canvas = html("canvas", { class: `vae-pixels ${cls}`, role: "img", "aria-label": title });
      return { canvas, node: html("figure", { class: "vae-picture" }, canvas,
        html("figcaption", {}, title)) };
    };
    const decoded = picture("mean of p(x|z)");
    const drawn = picture("one draw of x");
    const rebuilt = picture("its reconstruction");
    const readouts = {
      elbo: figure.readout("ELBO", "vae-elbo"),
      gap: figure.readout("gap KL(q‖posterior)", "vae-gap"),
      evidence: figure.readout("ln p(x)", "vae-strong"),
    };

    // The drawing board: one cell per pixel, painted with the pointer or the keyboard.
    const board = html("canvas", { class: "vae-pixels", "aria-hidden": "true" });
    const cursor = html("span", { class: "vae-cursor", "aria-hidden": "true" });
    const boardNode = html("div", { class: "vae-board", style: `--side: ${side}` }, board, cursor);
    const boardStatus = html("span", { class: "vae-sr", role: "status" });
    let cell = [0, 0];
    const bits = () => hexToBits(state.x, pixels);
    const paintCell = (column, row, ink) => {
      const next = bits();
      next[row * side + column] = ink;
      figure.set({ x: bitsToHex(next) });
    };
    const cellAt = (px, py) => [px, py].map((at, axis) => {
      const size = axis ? boardNode.clientHeight : boardNode.clientWidth;
      return Math.min(side - 1, Math.max(0, Math.floor((at / size) * side)));
    });
    const say = () => {
      const ink = bits()[cell[1] * side + cell[0]] ? "ink" : "blank";
      boardStatus.textContent = `row ${cell[1] + 1}, column ${cell[0] + 1}, ${ink}`;
    };
    pad(boardNode, `Drawing board, ${side} by ${side} pixels. Drag to draw. The arrow keys move the ` +
      "cursor, the space bar changes a pixel.", {
      grab: (px, py) => {
        const [column, row] = cellAt(px, py);
        return 1 - bits()[row * side + column];
      },
      move: (px, py, ink) => {
        cell = cellAt(px, py);
        paintCell(...cell, ink);
      },
      nudge: (dx, dy) => {
        cell = [cell[0] + dx, cell[1] - dy].map((at) => Math.min(side - 1, Math.max(0, at)));
        say();
        figure.schedule();
      },
    });
    let painting = false;
    boardNode.addEventListener("gotpointercapture", () => { painting = true; });
    boardNode.addEventListener("lostpointercapture", () => {
      painting = false;
      figure.schedule();
    });
    boardNode.addEventListener("keydown", (event) => {
      if (event.key !== " ") return;
      paintCell(...cell, 1 - bits()[cell[1] * side + cell[0]]);
      say();
      event.preventDefault();
      event.stopPropagation();
    });

    const thumbs = gallery.map((image, i) => {
      const canvas = html("canvas", { class: "vae-pixels", "aria-hidden": "true" });
      paintImage(canvas, image, side);
      return html("button", { type: "button", class: "vae-thumb", "aria-label": spec.galleryNames[i],
        "aria-pressed": "false", onclick: () => figure.set({ x: spec.gallery[i] }) }, canvas);
    });

    pad(plane.node, "The latent plane: z₁ to the right, z₂ upwards. Drag, or use the arrow keys; with " +
      "shift the steps are larger.", {
      move: (px, py) => {
        const [u, v] = plane.invert(px, py);
        figure.set({ u: round(u, 0.05), v: round(v, 0.05) });
      },
      nudge: (dx, dy, big) => {
        const step = big ? 0.25 : 0.05;
        figure.set({ u: round(state.u + dx * step, 0.05), v: round(state.v + dy * step, 0.05) });
      },
    });

    figure.body.append(
      html("div", { class: "vae-columns vae-atlas" },
        html("div", {}, view, plane.node, z1, z2, html("div", { class: "vae-buttons" }, figure.reset())),
        html("div", {},
          html("p", { class: "vae-head" }, "Generate: decode the point z"),
          html("div", { class: "vae-pictures" }, decoded.node, drawn.node, html("div", {},
            figure.button("New draw", () => figure.set({ draw: (state.draw + 1) % 1000000 })))),
          html("p", { class: "vae-head" }, "Evaluate: pick an image x, or draw one"),
          thumbs.length ? html("div", { class: "vae-thumbs", role: "group", "aria-label": "Images to pick" }, ...thumbs) : null,
          html("div", { class: "vae-pictures" }, html("figure", { class: "vae-picture vae-large" },
            boardNode, html("figcaption", {}, "image x")), rebuilt.node),
          boardStatus,
          html("div", { class: "vae-buttons" },
            figure.button("Clear", () => figure.set({ x: bitsToHex(new Uint8Array(pixels)) })),
            figure.button("Invert", () => figure.set({ x: bitsToHex(bits().map((bit) => 1 - bit)) })),
            figure.button("Go to its code", () => {
              const [u, v] = encode(encoder, bits()).mean;
              figure.animate({ u, v });
            })))),
      bars.node,
      html("p", { class: "vae-head vae-readouts" },
        readouts.elbo.node, readouts.gap.node, readouts.evidence.node));

    // The table behind ln p(x) is filled in slices, from when the figure is first seen.
    let grid = null;
    const fillGrid = () => {
      const until = performance.now() + 6;
      while (grid.progress < 1 && performance.now() < until) grid.addRow();
      figure.schedule();
      if (grid.progress < 1) setTimeout(fillGrid, 0);
    };
    const seen = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      seen.disconnect();
      grid = planeGrid(decoder, pixels, spec.points, spec.halfWidth);
      fillGrid();
    }, { rootMargin: "200px" });
    seen.observe(figure.node);

    const place = (canvas) => Object.assign(canvas.style, { left: `${plane.left}px`, top: `${plane.top}px`,
      width: `${plane.right - plane.left}px`, height: `${plane.bottom - plane.top}px` });

    let underKey = "";
    function drawUnder({ map }) {
      const key = [map, plane.width, figure.theme].join();
      if (key === underKey) return;
      underKey = key;
      place(under);
      const width = plane.right - plane.left;
      const height = plane.bottom - plane.top;
      const pen = under.getContext("2d");
      if (map === "decoded") {
        const columns = Math.max(9, Math.round(width / 24));
        const rows = Math.max(9, Math.round(height / 24));
        const tiles = new Float64Array(columns * rows * pixels);
        for (let i = 0; i < rows; i++) {
          for (let j = 0; j < columns; j++) {
            const tile = mean([extent * ((2 * j + 1) / columns - 1), extent * (1 - (2 * i + 1) / rows)]);
            for (let d = 0; d < pixels; d++) {
              tiles[(i * side + Math.floor(d / side)) * columns * side + j * side + (d % side)] = tile[d];
            }
          }
        }
        paintImage(under, tiles, columns * side);
        return;
      }
      const scale = root.devicePixelRatio || 1;
      under.width = width * scale;
      under.height = height * scale;
      pen.scale(scale, scale);
      pen.font = `600 11px ${getComputedStyle(figure.node).fontFamily}`;
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      const style = getComputedStyle(figure.node);
      for (let i = 0; 2 * i < codes.length; i++) {
        const x = (codes[2 * i] / extent + 1) * 0.5 * width;
        const y = (1 - codes[2 * i + 1] / extent) * 0.5 * height;
        if (labels) {
          pen.fillStyle = style.getPropertyValue(`--vf-digit-${labels[i] % DIGIT_COLOURS}`).trim();
          pen.fillText(String(labels[i]), x, y);
        } else {
          pen.fillStyle = style.getPropertyValue("--vf-data").trim();
          pen.beginPath();
          pen.arc(x, y, 2, 0, 2 * Math.PI);
          pen.fill();
        }
      }
    }

    let heatKey = "";
    function drawHeat(evidence, current) {
      const key = [current.x, plane.width, figure.theme].join();
      if (key === heatKey) return;
      heatKey = key;
      place(heat);
      const inside = [];
      grid.axis.forEach((z, i) => { if (Math.abs(z) <= extent + 1e-9) inside.push(i); });
      const [red, green, blue] = rgb(figure.node, "--vf-generative");
      heat.width = inside.length;
      heat.height = inside.length;
      const pen = heat.getContext("2d");
      const image = pen.createImageData(inside.length, inside.length);
      let top = -Infinity;
      for (const i of inside) {
        for (const j of inside) top = Math.max(top, evidence.logJoint[i * grid.points + j]);
      }
      inside.forEach((i, row) => inside.forEach((j, column) => {
        const alpha = 190 * Math.exp(evidence.logJoint[i * grid.points + j] - top);
        image.data.set([red, green, blue, alpha], 4 * ((inside.length - 1 - row) * inside.length + column));
      }));
      pen.putImageData(image, 0, 0);
    }

    let imageKey = "";
    let result = null;
    function evaluate(current) {
      const ready = grid !== null && grid.progress === 1;
      const points = painting ? 25 : 41; // off by less than 1e-4 nats in the middle of a stroke, then 1e-6
      const key = [current.x, ready, points].join();
      if (key !== imageKey) {
        const x = bits();
        if (!result || result.x !== current.x || result.points !== points) {
          const code = encode(encoder, x);
          const { elbo } = planeElbo(decoder, x, code, points);
          result = { x: current.x, points, bits: x, code, elbo, evidence: null };
        }
        if (ready) result.evidence = grid.evidence(x);
        imageKey = key;
      }
      return result;
    }

    return function (current) {
      plane.axes([-extent, extent], [-extent, extent], { x: "z₁", y: "z₂", grid: false, yTicks: 6 });
      const { code, elbo, evidence, bits: x } = evaluate(current);
      drawUnder(current);
      if (evidence) drawHeat(evidence, current);
      heat.style.opacity = current.map === "decoded" ? 0.75 : 1;
      const ellipse = (name, size) => plane.mark(name, "ellipse", "vae-ellipse vae-inference", {
        cx: plane.X(code.mean[0]), cy: plane.Y(code.mean[1]),
        rx: plane.X(size * code.std[0]) - plane.X(0), ry: plane.Y(0) - plane.Y(size * code.std[1]),
      });
      ellipse("one", 1);
      ellipse("two", 2);
      const right = code.mean[0] < 0.4 * extent;
      plane.text("q text", "vae-inference vae-halo vae-strong",
        plane.X(code.mean[0] + (right ? 2 : -2) * code.std[0]) + (right ? 5 : -5),
        plane.Y(code.mean[1]) + 4, "q(z|x)", right ? "start" : "end");
      plane.mark("z", "circle", "vae-handle", { cx: plane.X(current.u), cy: plane.Y(current.v), r: 8 });
      plane.text("z text", "vae-halo vae-strong", plane.X(current.u) + 12, plane.Y(current.v) - 8, "z");

      const probabilities = mean([current.u, current.v]);
      paintImage(decoded.canvas, probabilities, side);
      const noise = uniforms(current.draw, pixels);
      paintImage(drawn.canvas, probabilities.map((p, i) => (noise[i] < p ? 1 : 0)), side);
      paintImage(board, x, side);
      paintImage(rebuilt.canvas, mean(code.mean), side);
      Object.assign(cursor.style, { left: `${(100 * cell[0]) / side}%`, top: `${(100 * cell[1]) / side}%`,
        width: `${100 / side}%`, height: `${100 / side}%` });
      thumbs.forEach((thumb, i) =>
        thumb.setAttribute("aria-pressed", String(spec.gallery[i] === current.x)));

      readouts.elbo.set(elbo);
      if (!evidence) {
        const done = grid ? Math.round(100 * grid.progress) : 0;
        readouts.evidence.set(`computing, ${done} %`);
        readouts.gap.set("…");
        return "";
      }
      const gap = evidence.logEvidence - elbo;
      readouts.evidence.set(evidence.logEvidence);
      readouts.gap.set(gap);
      ladder(bars, { evidence: evidence.logEvidence, elbo, gap });
      return `ELBO ${number(elbo, 2)}, ln p(x) ${number(evidence.logEvidence, 2)} nats`;
    };
  };

  kinds["interpolation"] = function (figure) {
    const { state, spec } = figure;
    const { side } = spec;
    const pixels = side * side;
    const encoder = readLayers(spec.encoder);
    const decoder = readLayers(spec.decoder);
    const images = spec.gallery.map((text) => hexToBits(text, pixels));
    const codes = images.map((image) => encode(encoder, image).mean);
    const mean = (z) => mlp(decoder, z).map(activations.sigmoid);
    const indices = images.map((_, i) => i);
    const named = (i) => spec.galleryNames[i];

    const from = figure.pick("from", { text: "from image", values: indices, value: 0, format: named });
    const to = figure.pick("to", { text: "to image", values: indices, value: images.length > 1 ? 1 : 0,
      format: named });
    const t = figure.slider("t", { text: "position t", min: 0, max: 1, step: 0.01, value: 0.5 });
    const strip = (title) => {
      const canvas = html("canvas", { class: "vae-pixels vae-strip", role: "img", "aria-label": title });
      return { canvas, node: html("figure", { class: "vae-picture vae-wide" },
        html("figcaption", {}, title), canvas) };
    };
    const latent = strip("Decoded along the line between the two codes");
    const blend = strip("The same steps between the two images, pixel by pixel");
    const now = html("canvas", { class: "vae-pixels", role: "img", "aria-label": "decoded at t" });
    const distance = figure.readout("distance between the codes", "", "");
    figure.body.append(from, to, latent.node, blend.node, t,
      html("div", { class: "vae-pictures" }, html("figure", { class: "vae-picture" }, now,
        html("figcaption", {}, "decoded at t"))),
      html("p", { class: "vae-head" }, distance.node),
      html("div", { class: "vae-buttons" }, figure.reset()));
    figure.watch(figure.body, () => {});

    const STEPS = 9;
    const between = (one, other, share) =>
      Float64Array.from(one, (value, i) => (1 - share) * value + share * other[i]);
    const row = (canvas, make) =>
      paintStrip(canvas, Array.from(linspace(0, 1, STEPS), make), side);
    return function (current) {
      const [one, other] = [codes[current.from], codes[current.to]];
      row(latent.canvas, (share) => mean(between(one, other, share)));
      row(blend.canvas, (share) => between(images[current.from], images[current.to], share));
      paintImage(now, mean(between(one, other, current.t)), side);
      distance.set(Math.hypot(...between(one, other, 1).map((value, i) => value - one[i])));
      return `from ${named(state.from)} to ${named(state.to)}, t ${number(state.t, 2)}`;
    };
  };

  kinds["retrained"] = function (figure) {
    const { spec } = figure;
    const { side } = spec;
    const controls = spec.knobs.map(({ key, text, values, value }) =>
      figure.pick(key, { text, values, value }));
    const readouts = {
      elbo: figure.readout("ELBO", "vae-elbo"),
      reconstruction: figure.readout("reconstruction", "vae-reconstruction"),
      rate: figure.readout("rate", "vae-rate"),
    };
    const strips = Object.entries(spec.strips).map(([key, title]) => {
      const canvas = html("canvas", { class: "vae-pixels vae-strip", role: "img", "aria-label": title });
      return { key, canvas, node: html("figure", { class: "vae-picture vae-wide" },
        html("figcaption", {}, title), canvas) };
    });
    figure.body.append(
      html("p", { class: "vae-small" }, spec.note), ...controls,
      html("p", { class: "vae-head vae-readouts" },
        readouts.elbo.node, readouts.reconstruction.node, readouts.rate.node),
      ...strips.map((strip) => strip.node),
      html("div", { class: "vae-buttons" }, figure.reset()));
    figure.watch(figure.body, () => {});
    return function (current) {
      const run = spec.runs.find((candidate) =>
        spec.knobs.every(({ key }) => candidate[key] === current[key]));
      for (const [key, readout] of Object.entries(readouts)) readout.set(run[key], 2);
      for (const { key, canvas } of strips) {
        const values = Float64Array.from(decodeBytes(run[key]), (byte) => byte / 255);
        const size = side * side;
        paintStrip(canvas, Array.from({ length: values.length / size }, (_, i) =>
          values.subarray(i * size, (i + 1) * size)), side);
      }
      return `ELBO ${number(run.elbo, 2)} nats`;
    };
  };

  /** A question whose answer stays locked until the reader has chosen. */
  kinds["predict"] = function (figure) {
    const { question, choices, answer, why } = figure.spec;
    const inputs = choices.map((_, i) => html("input", { type: "radio", name: figure.id("choice"),
      value: i, onchange: () => { check.disabled = false; } }));
    const lines = choices.map((choice, i) =>
      html("label", {}, inputs[i], html("span", { class: "vae-choice-text" }, choice)));
    const verdict = html("div", { class: "vae-verdict", role: "status" });
    const check = html("button", { type: "button", class: "vae-button", disabled: true, onclick: () => {
      if (check.dataset.done) return restart();
      const chosen = inputs.findIndex((input) => input.checked);
      check.dataset.done = "yes";
      check.textContent = "Ask me again";
      inputs.forEach((input) => { input.disabled = true; });
      lines[answer].classList.add("vae-right");
      if (chosen !== answer) lines[chosen].classList.add("vae-wrong");
      verdict.append(
        html("strong", {}, chosen === answer ? "Right. " : "Not this one. "),
        chosen === answer ? "" : `The answer is: ${choices[answer]}. `.replace("..", "."), why);
    } }, "Check");
    function restart() {
      delete check.dataset.done;
      check.textContent = "Check";
      check.disabled = true;
      verdict.replaceChildren();
      inputs.forEach((input) => { input.disabled = false; input.checked = false; });
      lines.forEach((line) => line.classList.remove("vae-right", "vae-wrong"));
      inputs[0].focus();
    }
    figure.body.append(
      html("fieldset", { class: "vae-question" }, html("legend", {}, question), ...lines),
      html("div", { class: "vae-buttons" }, check), verdict);
    return () => "";
  };

  // ───────────────────────────── Mounting ─────────────────────────────

  /** Bring one figure to life. Its poster is hidden only once everything is in place. */
  function render(node) {
    if (node.vaeFigure) return;
    const kind = node.dataset.vaeFigure;
    if (!Object.hasOwn(kinds, kind)) throw new Error(`no figure of the kind "${kind}"`);
    const figure = new Figure(node);
    figure.paint = kinds[kind](figure);
    for (const old of node.querySelectorAll(":scope > .vae-live")) old.remove(); // of a saved page
    for (const still of node.querySelectorAll(":scope > .vae-static")) still.hidden = true;
    for (const control of figure.body.querySelectorAll("input, button, .vae-pad")) {
      control.dataset.lmSuppressShortcuts = "true"; // JupyterLab leaves its keys alone
    }
    node.append(figure.body, figure.status);
    node.vaeFigure = figure;
    mounted.add(new WeakRef(node));
    figure.draw();
  }

  /** Bring every figure of a page or of a part of it to life; a broken one does not stop the others. */
  function mountAll(scope = document) {
    let added = false;
    for (const node of scope.querySelectorAll(".vae-figure[data-vae-figure]")) {
      if (node.vaeFigure) continue;
      try {
        render(node);
        added = true;
      } catch (error) {
        root.reportError(error);
      }
    }
    if (added && ownsAddress()) followAddress(location.hash);
  }

  function listen() {
    const restyle = () => {
      for (const figure of liveFigures()) {
        figure.theme = (figure.theme || 0) + 1;
        figure.schedule();
      }
    };
    const watcher = new MutationObserver(restyle);
    watcher.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    root.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
    root.addEventListener("hashchange", () => followAddress(location.hash));
    document.addEventListener("click", (event) => {
      // no hashchange follows where the address is there already, or where a notebook takes the click
      const link = event.target instanceof Element ? event.target.closest("a[href*='#']") : null;
      if (link && (link.href === location.href || !ownsAddress())) followAddress(link.hash);
    });
    const begin = () => {
      watcher.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
      mountAll();
    };
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
    else queueMicrotask(begin); // once the scripts that come with this one have added their figures
  }

  /**
   * Add a figure: make(figure) puts its controls on figure.body and returns a function that draws a
   * state and says it in words. What stands in `arithmetic` is tested in node against vae_lib.
   */
  function add(kind, arithmetic, make) {
    kinds[kind] = make;
    Object.assign(root.VaeFigures, arithmetic);
  }

  // what figures are drawn with
  const kit = { html, svg, fill, pad, ladder, round, rgb, label, tenth, paintImage, paintStrip };

  root.VaeFigures = {
    version: VERSION, kinds, add, kit, mountAll, render,
    linspace, normalLogPdf, logSumExp, klGaussian, linearGaussian, iwaeBound, erf, activations, readLayers,
    mlp, boundedLogVar, encode, bernoulliLogLikelihood, planeElbo, gridLogEvidence, uniforms, bitsToHex,
    hexToBits, contour, number, niceAbove, ticks,
  };
  if (typeof module === "object" && module.exports) module.exports = root.VaeFigures;
  if (typeof document === "object") listen();
})(globalThis);
