/* Five data, five codes on a line, the best decoder: rate = information + mismatch. Chapter 4. */
(function () {
  "use strict";
  const { linspace, normalLogPdf, klGaussian, number, niceAbove } = VaeFigures;
  const { html, pad, ladder, round, label, tenth } = VaeFigures.kit;

  const DATA = [-2, -1, 0, 1, 2];
  const REACH = 16;

  /** The mean of the data that share a code z, under codes N(means[i], s²): the best decoder. */
  function fiveDecoder(z, means, s) {
    let top = -Infinity;
    for (const mean of means) top = Math.max(top, -0.5 * ((z - mean) / s) ** 2);
    let sum = 0;
    let weighted = 0;
    means.forEach((mean, i) => {
      const share = Math.exp(-0.5 * ((z - mean) / s) ** 2 - top);
      sum += share;
      weighted += share * DATA[i];
    });
    return weighted / sum;
  }

  /**
   * Means over the five data, all by one trapezoid sum over z; the ends vanish. The two parts of the
   * rate are integrated, the rate itself is in closed form: that they add up is a check of the grid.
   */
  function fiveCodes({ means, s, n }, points = 9601) {
    const count = means.length;
    const step = (2 * REACH) / (points - 1);
    const logCount = Math.log(count);
    const noise = n * n;
    const evidence = new Float64Array(count);
    const logQ = new Float64Array(count);
    let information = 0;
    let mismatch = 0;
    let error = 0;
    for (let j = 0; j < points; j++) {
      const z = -REACH + j * step;
      let top = -Infinity;
      for (let i = 0; i < count; i++) {
        logQ[i] = normalLogPdf(z, means[i], s * s);
        if (logQ[i] > top) top = logQ[i];
      }
      let sum = 0;
      let weighted = 0;
      for (let i = 0; i < count; i++) {
        const share = Math.exp(logQ[i] - top);
        sum += share;
        weighted += share * DATA[i];
      }
      const f = weighted / sum;
      const logAggregate = top + Math.log(sum) - logCount;
      const logPrior = normalLogPdf(z, 0, 1);
      const aggregate = Math.exp(logAggregate);
      if (aggregate > 0) mismatch += aggregate * (logAggregate - logPrior) * step;
      const prior = Math.exp(logPrior) * step;
      for (let i = 0; i < count; i++) {
        const q = (Math.exp(logQ[i]) * step) / count;
        if (q > 0) {
          information += q * (logQ[i] - logAggregate);
          error += q * (DATA[i] - f) ** 2;
        }
        if (prior > 0) evidence[i] += prior * Math.exp(normalLogPdf(DATA[i], f, noise));
      }
    }
    let rate = 0;
    let logEvidence = 0;
    for (let i = 0; i < count; i++) {
      rate += klGaussian(means[i], s * s, 0, 1) / count;
      logEvidence += Math.log(evidence[i]) / count;
    }
    const distortion = 0.5 * Math.log(2 * Math.PI * noise) + error / (2 * noise);
    return { rate, information, mismatch, distortion, error, elbo: -distortion - rate, logEvidence };
  }

  /** The best codes a·x with one width, for a noise: by halving steps on a coarse grid. */
  function fiveBest(n) {
    const value = (a, s) => fiveCodes({ means: DATA.map((x) => a * x), s, n }, 1601).elbo;
    let [a, logS] = [0.6, Math.log(0.5)];
    let best = value(a, Math.exp(logS));
    for (let step = 0.4; step > 0.004; step /= 2) {
      for (let moved = true; moved;) {
        moved = false;
        for (const [da, ds] of [[step, 0], [-step, 0], [0, step], [0, -step]]) {
          const [nextA, nextS] = [Math.min(1.5, Math.max(0, a + da)), Math.min(0, Math.max(Math.log(0.15), logS + ds))];
          const found = value(nextA, Math.exp(nextS));
          if (found > best + 1e-9) {
            [a, logS, best, moved] = [nextA, nextS, found, true];
          }
        }
      }
    }
    return { a, s: Math.exp(logS) };
  }

  VaeFigures.add("rate-and-distortion", { fiveDecoder, fiveCodes, fiveBest }, function (figure) {
    const { state } = figure;
    const places = [1, 2, 3, 4, 5];
    const codes = figure.panel({ height: 190, title: "The five codes, their aggregate, and the prior over z",
      margin: { top: 16, bottom: 20, left: 46 } });
    const decoded = figure.panel({ height: 150, title: "What the best decoder makes of z",
      margin: { bottom: 36, left: 46 } });
    const rates = figure.panel({ height: 106, title: "The rate, in its two parts", margin: { top: 38, bottom: 34, left: 12 } });
    const bars = figure.panel({ height: 220, title: "The mean ELBO against the exact mean of ln p(x)",
      margin: { top: 6, bottom: 26, right: 128, left: 52 } }); // beside the bar stands ln p(x)
    const readouts = {
      information: figure.readout("information", "vae-inference"),
      mismatch: figure.readout("mismatch", "vae-gap"),
      rate: figure.readout("rate", "vae-rate"),
      distortion: figure.readout("distortion", "vae-reconstruction"),
      elbo: figure.readout("ELBO", "vae-elbo"),
      logEvidence: figure.readout("exact ln p(x)", "vae-strong"),
    };
    const start = [-1.3, -0.65, 0, 0.65, 1.3];
    const sliders = places.map((i) => figure.slider(`m${i}`, {
      text: `code of x = ${DATA[i - 1]}`.replace("-", "−"), min: -3, max: 3, step: 0.05, value: start[i - 1] }));
    const s = figure.slider("s", { text: "width of all codes", min: 0.15, max: 1.5, step: 0.02, value: 0.3, log: true });
    const n = figure.slider("n", { text: "noise σ", min: 0.2, max: 2, step: 0.02, value: 0.5, log: true });

    let chosen = 1;
    const limited = (value) => Math.min(3, Math.max(-3, round(value, 0.05)));
    pad(codes.node, "The five codes over z. Drag one to the left or right. Arrow keys: left and right move the code " +
      "that was dragged last, at first that of the first datum; up and down change the width of all.", {
      grab: (px) => {
        const far = (i) => Math.abs(codes.X(state[`m${i}`]) - px);
        chosen = places.reduce((best, i) => (far(i) < far(best) ? i : best));
        return chosen;
      },
      move: (px, py, grabbed, started) => {
        if (!started) figure.set({ [`m${grabbed}`]: limited(codes.invert(px, py)[0]) });
      },
      nudge: (dx, dy, big) => figure.set({
        [`m${chosen}`]: limited(state[`m${chosen}`] + dx * (big ? 0.5 : 0.05)),
        s: state.s * (big ? 1.25 : 1.05) ** dy,
      }),
    });

    const spread = (values, rest) => ({ ...Object.fromEntries(places.map((i) => [`m${i}`, values[i - 1]])), ...rest });
    const sets = (legend, ...rows) =>
      html("fieldset", { class: "vae-set" }, html("legend", {}, legend), ...rows);
    figure.body.append(
      html("div", { class: "vae-columns" },
        html("div", {}, html("p", { class: "vae-head" }, "Codes, their aggregate, the prior"), codes.node,
          html("p", { class: "vae-head" }, "The decoder"), decoded.node,
          html("p", { class: "vae-head vae-readouts" }, readouts.information.node, readouts.mismatch.node,
            readouts.rate.node, readouts.distortion.node, readouts.elbo.node, readouts.logEvidence.node)),
        html("div", {}, rates.node, bars.node, sets("Where the codes lie", ...sliders), s, n)),
      html("div", { class: "vae-buttons" },
        figure.button("Every code the prior", spread([0, 0, 0, 0, 0], { s: 1 })),
        figure.button("Like an auto-encoder", spread([-3, -1.5, 0, 1.5, 3], { s: 0.15 })),
        figure.button("Best even codes", () => {
          const best = fiveBest(state.n);
          figure.animate(spread(DATA.map((x) => limited(best.a * x)), { s: best.s }));
        }),
        figure.button("Mix up the order", spread([0, 1.3, -1.3, 0.65, -0.65], {})),
        figure.reset()));

    const zs = linspace(-4, 4, 321);
    let found = null;
    let foundKey = "";
    return function (current) {
      const means = places.map((i) => current[`m${i}`]);
      const key = [...means, current.s, current.n].join();
      if (key !== foundKey) {
        foundKey = key;
        found = fiveCodes({ means, s: current.s, n: current.n });
      }
      const q = means.map((mean) => zs.map((z) => Math.exp(normalLogPdf(z, mean, current.s ** 2)) / 5));
      const aggregate = zs.map((_, j) => q.reduce((sum, row) => sum + row[j], 0));
      const prior = zs.map((z) => Math.exp(normalLogPdf(z, 0, 1)));
      codes.axes([-4, 4], [0, niceAbove(1.12 * Math.max(...aggregate, 0.4))], { y: "density" });
      codes.area("aggregate area", "vae-inference", zs, aggregate);
      codes.curve("prior", "vae-generative", zs, prior);
      codes.curve("aggregate", "vae-inference", zs, aggregate);
      const peak = 1 / (5 * current.s * Math.sqrt(2 * Math.PI));
      q.forEach((row, i) => {
        const line = codes.curve(`code ${i}`, "vae-inference vae-dashed", zs, row);
        line.style.strokeWidth = "1.2";
        const at = codes.X(means[i]);
        codes.mark(`handle ${i}`, "circle", "vae-handle vae-inference", { cx: at, cy: codes.Y(peak), r: 5 });
      });
      // under a tall bell there is room for its label, and no curve; above a low one. Labels of codes that
      // lie together would cover one another: each goes one line further
      const step = codes.bottom - codes.Y(peak) > 68 ? 12 : -12;
      const taken = [];
      places.forEach((i) => {
        const at = codes.X(means[i - 1]);
        let height = codes.Y(peak) + (step > 0 ? 19 : -9);
        while (taken.some(([x, y]) => Math.abs(x - at) < 18 && Math.abs(y - height) < 11)) height += step;
        taken.push([at, height]);
        codes.text(`name ${i}`, "vae-halo vae-inference", at, Math.max(height, 10), label(DATA[i - 1], 0), "middle");
      });
      codes.text("prior name", "vae-halo vae-generative", codes.X(-2.6), codes.Y(0.06) - 14, "prior", "end");

      decoded.axes([-4, 4], [-2.6, 2.6], { x: "z", y: "decoded x", yTicks: 5 });
      decoded.curve("f", "vae-generative", zs, zs.map((z) => fiveDecoder(z, means, current.s)));
      const dots = means.map((mean, i) => `M${tenth(decoded.X(mean))} ${tenth(decoded.Y(DATA[i]))}h0`);
      const cloud = decoded.mark("data", "path", "vae-curve vae-inference", { d: dots.join(""), "stroke-linecap": "round" });
      cloud.style.strokeWidth = "7";

      const limit = Math.log(5);
      const top = niceAbove(Math.max(2, 1.05 * found.rate));
      rates.axes([0, top], [0, 1], { x: "rate (nats)", yTicks: 0, grid: false });
      const box = (name, cls, from, to) => rates.mark(name, "rect", `vae-bar ${cls}`, {
        x: rates.X(from), width: Math.max(0, rates.X(to) - rates.X(from)), y: rates.top, height: rates.bottom - rates.top });
      box("information", "vae-inference", 0, found.information);
      box("mismatch", "vae-gap", found.information, found.information + found.mismatch);
      rates.mark("limit", "path", "vae-curve", { d: `M${tenth(rates.X(limit))} ${rates.top - 6}V${rates.bottom}` })
        .style.stroke = "currentColor";
      rates.text("limit name", "vae-halo", rates.X(limit), rates.top - 9, "ln 5", "middle");
      rates.text("information name", "vae-halo vae-inference", rates.left, rates.top - 26, "information");
      rates.text("mismatch name", "vae-halo vae-gap", rates.right, rates.top - 26, "mismatch", "end");

      ladder(bars, { evidence: found.logEvidence, elbo: found.elbo, gap: found.logEvidence - found.elbo });
      for (const name of Object.keys(readouts)) readouts[name].set(found[name]);
      return `rate ${number(found.rate, 2)}, of it information ${number(found.information, 2)}; ` +
        `ELBO ${number(found.elbo, 2)}, exact ln p(x) ${number(found.logEvidence, 2)} nats`;
    };
  });
})();
