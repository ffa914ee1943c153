/* Jensen's chord: f(E X) and E f(X) for an X that takes up to three values. Chapter 3. */
(function () {
  "use strict";
  const { linspace, number } = VaeFigures;
  const { html, pad, round, label, tenth } = VaeFigures.kit;

  const LOWEST = 0.05;
  const HIGHEST = 6;

  const CURVES = {
    log: { f: Math.log, text: "ln t", inner: "ln", range: [-3.3, 2.2], sign: "≥", bend: "concave" },
    sqrt: { f: Math.sqrt, text: "√t", inner: "√", range: [-0.2, 2.9], sign: "≥", bend: "concave" },
    line: { f: (t) => t / 2, text: "t/2", inner: "½", range: [-0.2, 3.4], sign: "=", bend: "straight" },
    square: { f: (t) => (t * t) / 6, text: "t²/6", inner: "f", range: [-0.4, 6.8], sign: "≤", bend: "convex" },
  };

  /** The chances that three weights stand for; equal ones where all weights are zero. */
  function jensenChances(weights) {
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return weights.map((weight) => (total > 0 ? weight / total : 1 / weights.length));
  }

  /** E X, f(E X), E f(X) and their difference; with f = ln and X a weight: ln p(x), ELBO and gap. */
  function jensenSides(name, values, chances) {
    const { f } = CURVES[name];
    let mean = 0;
    let meanOfF = 0;
    values.forEach((value, i) => {
      mean += chances[i] * value;
      meanOfF += chances[i] * f(value);
    });
    const fOfMean = f(mean);
    return { mean, fOfMean, meanOfF, gap: fOfMean - meanOfF };
  }

  VaeFigures.add("jensen-chord", { jensenChances, jensenSides }, function (figure) {
    const { state } = figure;
    const panel = figure.panel({ height: (width) => Math.min(380, Math.max(300, 0.8 * width)),
      title: "The curve f, the values of X on it, and the mean of them",
      margin: { top: 10, bottom: 36, left: 40, right: 8 } });
    const readouts = {
      mean: figure.readout("E X", "", ""),
      fOfMean: figure.readout("f(E X)", "vae-strong", ""),
      meanOfF: figure.readout("E f(X)", "vae-elbo", ""),
      gap: figure.readout("f(E X) − E f(X)", "vae-gap", ""),
    };
    const verdict = html("output", { class: "vae-small", "aria-live": "off" });
    const places = [1, 2, 3];
    const start = { values: [1, 4, 0.3], weights: [0.5, 0.5, 0] };
    const choice = figure.choice("f", { text: "f(t) =", value: "log",
      options: Object.entries(CURVES).map(([name, { text }]) => [name, text]) });
    const values = places.map((i) => figure.slider(`x${i}`, { text: `value ${i}`, min: LOWEST, max: HIGHEST,
      step: 0.05, value: start.values[i - 1] }));
    const weights = places.map((i) => figure.slider(`q${i}`, { text: `weight ${i}`, min: 0, max: 1,
      step: 0.05, value: start.weights[i - 1] }));
    const chances = () => jensenChances(places.map((i) => state[`q${i}`]));

    let chosen = 1;
    const limited = (t) => Math.min(HIGHEST, Math.max(LOWEST, round(t, 0.05)));
    pad(panel.node, "The values of X on the curve. Drag a point along the curve. Arrow keys: left and right move the " +
      "point that was dragged last, at first the first; up and down change its weight.", {
      grab: (px, py) => {
        const { f } = CURVES[state.f];
        const far = (i) => Math.hypot(panel.X(state[`x${i}`]) - px, panel.Y(f(state[`x${i}`])) - py);
        chosen = places.reduce((best, i) => (far(i) < far(best) ? i : best));
        return chosen;
      },
      move: (px, py, grabbed, started) => {
        if (!started) figure.set({ [`x${grabbed}`]: limited(panel.invert(px, py)[0]) });
      },
      nudge: (dx, dy, big) => figure.set({
        [`x${chosen}`]: limited(state[`x${chosen}`] + dx * (big ? 0.5 : 0.05)),
        [`q${chosen}`]: round(state[`q${chosen}`] + dy * (big ? 0.25 : 0.05), 0.05),
      }),
    });

    const sets = (legend, ...rows) =>
      html("fieldset", { class: "vae-set" }, html("legend", {}, legend), ...rows);
    figure.body.append(
      choice,
      html("div", { class: "vae-columns" },
        html("div", {}, panel.node,
          html("p", { class: "vae-head vae-readouts" },
            readouts.mean.node, readouts.fOfMean.node, readouts.meanOfF.node, readouts.gap.node),
          html("p", {}, verdict)),
        html("div", {}, sets("What X can be", ...values),
          sets("How often (scaled to sum to one)", ...weights),
          html("div", { class: "vae-buttons" },
            figure.button("Counter-example to line 47",
              { f: "log", x1: 1, x2: 4, q1: 0.5, q2: 0.5, q3: 0 }),
            figure.button("All at the mean", () => {
              const { mean } = jensenSides(state.f, places.map((i) => state[`x${i}`]), chances());
              figure.animate({ x1: mean, x2: mean, x3: mean });
            }),
            figure.reset()))));

    const ts = linspace(LOWEST, HIGHEST, 241);
    return function (current) {
      const { f, inner, range, sign, bend } = CURVES[current.f];
      const xs = places.map((i) => current[`x${i}`]);
      const shares = chances();
      const sides = jensenSides(current.f, xs, shares);
      panel.axes([0, HIGHEST + 0.2], range, { x: "t", yTicks: 4 });

      const used = places.filter((i) => shares[i - 1] > 0);
      const corners = used.map((i) => `${tenth(panel.X(xs[i - 1]))} ${tenth(panel.Y(f(xs[i - 1])))}`);
      const chords = panel.mark("chords", "path", "vae-curve vae-elbo vae-dashed",
        { d: `M${corners.join("L")}${corners.length > 2 ? "Z" : ""}` });
      chords.style.strokeWidth = "1.5";
      const curve = panel.curve("curve", "", ts, ts.map(f));
      curve.style.stroke = "currentColor";
      const line = panel.Y(sides.fOfMean);
      panel.mark("evidence", "line", "vae-evidence", { x1: 0, x2: panel.width, y1: line, y2: line });
      const centre = panel.X(sides.mean);
      const height = panel.Y(sides.meanOfF);
      panel.mark("gap", "line", "vae-curve vae-gap", { x1: centre, x2: centre, y1: line, y2: height })
        .style.strokeWidth = "5";
      for (const i of places) {
        const share = shares[i - 1];
        panel.mark(`point ${i}`, "circle", "vae-handle", { cx: panel.X(xs[i - 1]), cy: panel.Y(f(xs[i - 1])),
          r: 4 + 6 * Math.sqrt(share) });
        panel.mark(`share ${i}`, "text", "vae-text vae-halo", share > 0 ? {
          x: Math.min(panel.X(xs[i - 1]) + 8, panel.right - 30), y: panel.Y(f(xs[i - 1])) + 20 } : false,
        `${Math.round(100 * share)} %`);
      }
      panel.mark("mean", "rect", "vae-handle vae-elbo", { x: centre - 5, y: height - 5, width: 10, height: 10, rx: 2 });

      const named = (order) => (inner === "f" ? order : order.replace("f", inner).replace(/[()]/g, " ").trim());
      // to the left of the mean the curve runs below the line, so there is room above it
      panel.text("line text", "vae-halo vae-strong", panel.left + 6, line - 8,
        `${named("f(E X)")} = ${label(sides.fOfMean)}`);
      const left = centre > panel.left + (sign === "≤" ? 230 : 130);
      panel.text("mean text", "vae-halo vae-elbo", centre + (left ? -12 : 12),
        height + (sign === "≤" ? -10 : 20), `${named("E f(X)")} = ${label(sides.meanOfF)}`, left ? "end" : "start");
      const [at, across, down] = current.f === "log" ? [0.45, 10, 8] : [5.2, 0, 24];
      panel.text("curve text", "vae-halo", panel.X(at) + across, panel.Y(f(at)) + down, CURVES[current.f].text);

      readouts.mean.set(sides.mean);
      readouts.fOfMean.set(sides.fOfMean);
      readouts.meanOfF.set(sides.meanOfF);
      readouts.gap.set(sides.gap);
      verdict.textContent = `This curve is ${bend}: f(E X) ${sign} E f(X).` +
        (current.f === "log" ? " If X is the weight p(x,z)/q(z|x), the ink line is ln p(x), the blue mark the ELBO." : "");
      return `f of the mean ${number(sides.fOfMean, 2)}, mean of f ${number(sides.meanOfF, 2)}`;
    };
  });
})();
