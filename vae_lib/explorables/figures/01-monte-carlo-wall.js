/* Estimating is hard: p(x) of z ~ N(0, I), x | z ~ N(z, s² I) by draws from the prior. Chapter 1. */
(function () {
  "use strict";
  const { uniforms, number, niceAbove } = VaeFigures;
  const { html, label, tenth } = VaeFigures.kit;

  const REPEATS = 60;

  /** ln ρ: the relative second moment of p(x|z) in one coordinate, at x² = 1 + s². */
  function wallLogRho(s) {
    const v = s * s;
    return 0.5 * Math.log1p(1 / (v * (2 + v))) + 1 / (2 + v);
  }

  /** Draws from the prior that give p(x) to a relative standard error. */
  function wallDraws(d, s, relative) {
    return Math.expm1(d * wallLogRho(s)) / (relative * relative);
  }

  /** The exact ln p(x) of the typical x. */
  function wallLogEvidence(d, s) {
    return -0.5 * d * (Math.log(2 * Math.PI * (1 + s * s)) + 1);
  }

  /**
   * Independent estimates: ln(p̂/p), and the effective sample size of each.
   * ‖x − z‖² is drawn as one number: a normal that is off the centre, and a chi-square of the other d − 1.
   */
  function wallEstimates(d, s, n, repeats = REPEATS, seed = 1) {
    const v = s * s;
    const pairs = Math.floor((d - 1) / 2);
    const odd = (d - 1) % 2;
    const perDraw = 2 + pairs;
    const u = uniforms(seed, repeats * n * perDraw);
    const shift = Math.sqrt(d * (1 + v));
    const constant = 0.5 * d * (Math.log1p(v) - Math.log(v) + 1);
    const logs = [];
    const ess = [];
    const weights = new Float64Array(n);
    let at = 0;
    for (let k = 0; k < repeats; k++) {
      let top = -Infinity;
      for (let i = 0; i < n; i++) {
        const r = Math.sqrt(-2 * Math.log1p(-u[at]));
        const angle = 2 * Math.PI * u[at + 1];
        const off = r * Math.cos(angle) - shift;
        const spare = odd ? r * Math.sin(angle) : 0;
        let product = 1;
        for (let j = 2; j < perDraw; j++) product *= 1 - u[at + j];
        at += perDraw;
        weights[i] = constant - (off * off + spare * spare - 2 * Math.log(product)) / (2 * v);
        if (weights[i] > top) top = weights[i];
      }
      let sum = 0;
      let squares = 0;
      for (let i = 0; i < n; i++) {
        const w = Math.exp(weights[i] - top);
        sum += w;
        squares += w * w;
      }
      logs.push(top + Math.log(sum / n));
      ess.push((sum * sum) / squares);
    }
    return { logs, ess };
  }

  const words = (count) => (count < 1e6 ? String(Math.ceil(count)) : count.toExponential(1));

  VaeFigures.add("monte-carlo-wall", { wallLogRho, wallDraws, wallLogEvidence, wallEstimates }, function (figure) {
    const panel = figure.panel({ height: 290, title: "Estimates of ln p(x) against its exact value",
      margin: { top: 14, bottom: 36, left: 52 } });
    const readouts = {
      evidence: figure.readout("exact ln p(x)", "vae-strong"),
      mean: figure.readout("mean of ln p̂(x)", "vae-elbo"),
      below: figure.readout("below the line", "", "per cent"),
      ess: figure.readout("effective draws", "", ""),
      needed: figure.readout("draws for 10 % error", "vae-gap", ""),
    };
    const d = figure.slider("d", { text: "dimensions d", min: 1, max: 50, step: 1, value: 5, digits: 0 });
    const s = figure.slider("s", { text: "noise s", min: 0.05, max: 2, step: 0.02, value: 0.5, log: true });
    const n = figure.pick("n", { text: "draws n", values: [1, 3, 10, 30, 100, 300, 1000], value: 100 });
    figure.body.append(panel.node,
      html("p", { class: "vae-head vae-readouts" }, ...Object.values(readouts).map(({ node }) => node)),
      d, s, n,
      html("div", { class: "vae-buttons" },
        figure.button("One dimension", { d: 1, s: 0.5, n: 100 }),
        figure.button("Ten dimensions", { d: 10, s: 0.5, n: 100 }), figure.reset()));

    let found = null;
    let foundKey = "";
    return function (current) {
      const dimensions = Math.round(current.d);
      const key = [dimensions, current.s, current.n].join();
      if (key !== foundKey) {
        foundKey = key;
        found = wallEstimates(dimensions, current.s, current.n);
      }
      const evidence = wallLogEvidence(dimensions, current.s);
      const { logs, ess } = found;
      const mean = logs.reduce((sum, value) => sum + value, 0) / logs.length;
      const span = niceAbove(Math.max(0.5, ...logs.map((value) => Math.abs(value))));
      const highest = Math.max(0.4 * span, 1.15 * Math.max(...logs));
      panel.axes([0, REPEATS + 1], [evidence - 1.05 * span, evidence + highest],
        { x: `${REPEATS} estimates, each from n draws`, y: "nats", yTicks: 5 });
      const line = panel.Y(evidence);
      panel.mark("evidence", "line", "vae-evidence", { x1: 0, x2: panel.width, y1: line, y2: line });
      const height = panel.Y(evidence + mean);
      panel.mark("mean", "path", "vae-curve vae-elbo vae-dashed", { d: `M${panel.left} ${height}H${panel.right}` });
      const dots = logs.map((value, i) => `M${tenth(panel.X(i + 1))} ${tenth(panel.Y(evidence + value))}h0`);
      const cloud = panel.mark("dots", "path", "vae-curve vae-generative", { d: dots.join(""), "stroke-linecap": "round" });
      cloud.style.strokeWidth = "6";
      panel.text("line text", "vae-halo vae-strong", panel.right - 4, line - 8,
        `exact ln p(x) = ${label(evidence, 2)}`, "end");
      panel.text("mean text", "vae-halo vae-elbo", panel.left + 6, Math.max(height, line + 4) + 16, "mean of ln p̂(x)");

      readouts.evidence.set(evidence);
      readouts.mean.set(evidence + mean);
      readouts.below.set((100 * logs.filter((value) => value < 0).length) / logs.length, 0);
      readouts.ess.set(ess.reduce((sum, value) => sum + value, 0) / ess.length, 1);
      readouts.needed.set(words(wallDraws(dimensions, current.s, 0.1)));
      return `exact ln p(x) ${number(evidence, 2)}, mean of the estimates ${number(evidence + mean, 2)} nats`;
    };
  });
})();
