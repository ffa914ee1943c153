/* Four estimators of one slope of the ELBO: z ~ N(0, 1), x | z ~ N(z, ¼), q = N(m, v). Chapter 6. */
(function () {
  "use strict";
  const { linearGaussian, linspace, niceAbove, number, uniforms } = VaeFigures;
  const { html, pad, label, tenth, round } = VaeFigures.kit;

  const NOISE = 0.5; // s, the standard deviation of x given z
  const ESTIMATES = 40;
  const RANGE = [-1, 3]; // of the mean of q
  const WIDTHS = [0.02, 1]; // of its variance

  const ESTIMATORS = {
    score: { text: "score function", cls: "vae-generative" },
    path: { text: "pathwise", cls: "vae-reconstruction" },
    kl: { text: "analytic KL", cls: "vae-rate" },
    stl: { text: "STL", cls: "vae-inference" },
  };
  const NAMES = Object.keys(ESTIMATORS);

  const model = ({ m, v, x }) => linearGaussian({ w: 1, s: NOISE, m, v, x });

  /** Standard normal numbers that are the same on every machine. */
  function gradientNoise(seed, count) {
    const u = uniforms(seed, 2 * count);
    return Float64Array.from({ length: count }, (_, i) =>
      Math.sqrt(-2 * Math.log1p(-u[2 * i])) * Math.cos(2 * Math.PI * u[2 * i + 1]));
  }

  /** The exact derivative of the ELBO with respect to m. */
  function gradientExact(state) {
    const { posteriorMean, posteriorVariance } = model(state);
    return (posteriorMean - state.m) / posteriorVariance;
  }

  /** One estimate of it for each noise, by each of the four estimators. */
  function gradientSamples(state, noise) {
    const { m, v, x } = state;
    const { posteriorMean, posteriorVariance, logEvidence } = model(state);
    const std = Math.sqrt(v);
    const found = { score: [], path: [], kl: [], stl: [] };
    for (const e of noise) {
      const z = m + std * e;
      const pull = (posteriorMean - z) / posteriorVariance; // ∂ ln p(x, z) / ∂z
      const push = e / std; // −∂ ln q(z) / ∂z, which is also the score of m
      const logWeight = logEvidence + 0.5 * (e * e + Math.log(v / posteriorVariance)) -
        (z - posteriorMean) ** 2 / (2 * posteriorVariance);
      found.score.push(logWeight * push);
      found.path.push(pull);
      found.kl.push((x - z) / (NOISE * NOISE) - m);
      found.stl.push(pull + push);
    }
    return found;
  }

  /** Their exact variances. ln w is a + b ε + c ε², and the even moments of ε are 1, 3, 15. */
  function gradientVariances(state) {
    const { m, v } = state;
    const { posteriorMean, posteriorVariance, logEvidence } = model(state);
    const off = m - posteriorMean;
    const a = logEvidence + 0.5 * Math.log(v / posteriorVariance) - off ** 2 / (2 * posteriorVariance);
    const b = (-off * Math.sqrt(v)) / posteriorVariance;
    const c = 0.5 * (1 - v / posteriorVariance);
    return {
      score: (a * a + 2 * b * b + 15 * c * c + 6 * a * c) / v,
      path: v / posteriorVariance ** 2,
      kl: v / NOISE ** 4,
      stl: v * (1 / v - 1 / posteriorVariance) ** 2,
    };
  }

  /** Means of n estimates each, for ESTIMATES points of a cloud. */
  function clouds(state, noise) {
    const samples = gradientSamples(state, noise);
    return Object.fromEntries(NAMES.map((name) => {
      const means = new Float64Array(ESTIMATES);
      samples[name].forEach((value, i) => { means[i % ESTIMATES] += (value * ESTIMATES) / noise.length; });
      return [name, means];
    }));
  }

  const arithmetic = { gradientNoise, gradientExact, gradientSamples, gradientVariances };

  VaeFigures.add("gradient-clouds", arithmetic, function (figure) {
    const { state } = figure;
    const hill = figure.panel({ height: (width) => Math.min(300, Math.max(240, 0.72 * width)),
      title: "The ELBO against the mean of q, and estimates of its slope",
      margin: { top: 12, bottom: 36, left: 44, right: 8 } });
    const rows = figure.panel({ height: 212, title: "Estimates of the slope by four estimators",
      margin: { top: 18, bottom: 36, left: 10, right: 8 } });
    const readouts = {
      evidence: figure.readout("exact ln p(x)", "vae-strong"),
      elbo: figure.readout("ELBO", "vae-elbo"),
      exact: figure.readout("exact slope", "vae-strong", "nats"),
    };
    const spread = Object.fromEntries(NAMES.map((name) => [name,
      figure.readout(ESTIMATORS[name].text, ESTIMATORS[name].cls, "")]));
    const estimator = figure.choice("e", { text: "Strokes by", value: "path",
      options: NAMES.map((name) => [name, ESTIMATORS[name].text]) });
    const mean = figure.slider("m", { text: "mean of q", min: RANGE[0], max: RANGE[1], step: 0.05, value: 0.4 });
    const width = figure.slider("v", { text: "variance of q", min: WIDTHS[0], max: WIDTHS[1], step: 0.02,
      value: 0.3, log: true });
    const datum = figure.slider("x", { text: "observation x", min: 0, max: 3, step: 0.1, value: 1.5 });
    const draws = figure.pick("n", { text: "average of", values: [1, 4, 16, 64], value: 1 });
    figure.define("seed", 1, (raw) => {
      const parsed = Number(raw);
      return Number.isInteger(parsed) && parsed >= 1 && parsed <= 9999 ? parsed : undefined;
    });

    const inside = (value, [low, high]) => Math.min(high, Math.max(low, value));
    pad(hill.node, "The dot is the mean of q. Drag it, or use the arrow keys: left and right move the mean, " +
      "up and down change the variance.", {
      move: (px, py) => figure.set({ m: inside(round(hill.invert(px, py)[0], 0.05), RANGE) }),
      nudge: (dx, dy, big) => figure.set({
        m: inside(round(state.m + dx * (big ? 0.5 : 0.05), 0.05), RANGE),
        v: inside(Number((state.v * (big ? 2 : 1.1) ** dy).toPrecision(3)), WIDTHS),
      }),
    });
    const landing = (name, v) => () => {
      const { posteriorMean, posteriorVariance } = model(state);
      figure.set({ e: name });
      figure.animate({ m: posteriorMean, v: v * posteriorVariance });
    };
    figure.body.append(
      html("div", { class: "vae-columns" },
        html("div", {}, hill.node,
          html("p", { class: "vae-head vae-readouts" }, ...Object.values(readouts).map(({ node }) => node)),
          estimator),
        html("div", {}, rows.node,
          html("p", { class: "vae-head vae-small" }, "Variance of one estimate, exact:"),
          html("p", { class: "vae-readouts" }, ...Object.values(spread).map(({ node }) => node)))),
      mean, width, datum, draws,
      html("div", { class: "vae-buttons" },
        figure.button("q := posterior", landing("stl", 1)),
        figure.button("q four times too narrow", landing("stl", 0.25)),
        figure.button("New draws", () => figure.set({ seed: (state.seed % 9999) + 1 })), figure.reset()));

    let noise = null;
    let noiseKey = "";
    const grid = linspace(RANGE[0], RANGE[1], 161);
    return function (current) {
      const key = [current.seed, current.n].join();
      if (key !== noiseKey) {
        noiseKey = key;
        noise = gradientNoise(current.seed, ESTIMATES * current.n);
      }
      const { logEvidence, elbo } = model(current);
      const exact = gradientExact(current);
      const variances = gradientVariances(current);
      const found = clouds(current, noise);

      hill.axes(RANGE, [logEvidence - 8.4, logEvidence + 1.2], { x: "mean of q", y: "nats", yTicks: 2 });
      const line = hill.Y(logEvidence);
      hill.mark("evidence", "line", "vae-evidence", { x1: 0, x2: hill.width, y1: line, y2: line });
      const heights = grid.map((m) => Math.max(model({ ...current, m }).elbo, logEvidence - 12));
      const shown = Array.from(grid.keys()).filter((i) => heights[i] > logEvidence - 8.4);
      hill.curve("curve", "vae-elbo", shown.map((i) => grid[i]), shown.map((i) => heights[i]));
      const [px, py] = [hill.X(current.m), hill.Y(Math.max(elbo, logEvidence - 8.4))];
      const steep = (hill.Y(0) - hill.Y(1)) / (hill.X(1) - hill.X(0)); // pixels of one unit of slope
      const stroke = (slope, reach) => {
        const length = Math.hypot(1, slope * steep);
        const [dx, dy] = [reach / length, (-reach * slope * steep) / length];
        return `M${tenth(px - dx)} ${tenth(py - dy)}L${tenth(px + dx)} ${tenth(py + dy)}`;
      };
      for (const name of NAMES) {
        const fan = hill.mark(`fan ${name}`, "path", `vae-curve ${ESTIMATORS[name].cls}`,
          name === current.e ? { d: Array.from(found[name], (slope) => stroke(slope, 44)).join("") } : false);
        fan.style.strokeWidth = "1";
        fan.style.strokeOpacity = "0.6";
      }
      const tangent = hill.mark("tangent", "path", "vae-curve vae-dashed", { d: stroke(exact, 62) });
      tangent.style.stroke = "currentColor";
      hill.mark("dot", "circle", "vae-handle vae-elbo", { cx: px, cy: py, r: 7 });
      const free = px < (hill.left + hill.right) / 2; // the half of the line that the strokes do not cross
      hill.text("line text", "vae-halo vae-strong", free ? hill.right - 4 : hill.left + 6, line - 8,
        `exact ln p(x) = ${label(logEvidence, 2)}`, free ? "end" : "start");
      const { posteriorMean } = model(current);
      hill.text("dot text", "vae-halo vae-elbo", hill.X(inside(posteriorMean, [0, 2])), hill.bottom - 8,
        `ELBO = ${label(elbo, 2)}`, "middle");

      const widest = Math.max(...NAMES.map((name) => variances[name])) / current.n;
      const reach = 2.8 * Math.sqrt(widest);
      const half = niceAbove(reach / 8) * Math.ceil(reach / niceAbove(reach / 8));
      // a domain without a round number: four rows need no ticks
      rows.axes([exact - half, exact + half], [0.1, 4.1],
        { x: "estimates of the slope (nats per unit)", yTicks: 1, grid: false });
      const centre = rows.X(exact);
      rows.mark("exact", "path", "vae-curve", { d: `M${tenth(centre)} ${rows.top - 4}V${rows.bottom}` })
        .style.stroke = "currentColor";
      rows.text("exact text", "vae-halo vae-strong", centre, rows.top - 7, `exact ${label(exact, 2)}`, "middle");
      NAMES.forEach((name, i) => {
        const { text, cls } = ESTIMATORS[name];
        const height = rows.Y(3.4 - i);
        const dots = Array.from(found[name], (value) => Math.abs(value - exact) <= half ? rows.X(value) : null)
          .filter((at) => at !== null).map((at) => `M${tenth(at)} ${tenth(height)}h0`);
        const cloud = rows.mark(`dots ${name}`, "path", `vae-curve ${cls}`, { d: dots.join(""), "stroke-linecap": "round" });
        cloud.style.strokeWidth = "7";
        cloud.style.strokeOpacity = "0.55";
        rows.text(`name ${name}`, `vae-halo ${cls}`, rows.left, height - 12, text);
        spread[name].set(variances[name], 2);
      });

      readouts.evidence.set(logEvidence);
      readouts.elbo.set(elbo);
      readouts.exact.set(exact);
      return `exact slope ${number(exact, 2)}, variance of the ${ESTIMATORS[current.e].text} estimate ` +
        `${number(variances[current.e], 2)}`;
    };
  });
})();
