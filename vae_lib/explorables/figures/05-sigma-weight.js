/* σ² is the KL weight: the linear VAE of the digits at every noise, on paper. Chapter 5. */
(function () {
  "use strict";
  const { linspace, number, niceAbove } = VaeFigures;
  const { html, label, tenth } = VaeFigures.kit;

  const LOG_2PI = Math.log(2 * Math.PI);
  const LOWEST = -4; // log₁₀ of the smallest variance that is drawn

  /**
   * What training at noise s2 and weight beta ends at, for q latents: one sum over the axes of the data.
   * An axis of variance λ is in use if it is above the water, λ > β s2, and then w² = λ − β s2.
   */
  function linearVaeAt(eigenvalues, s2, beta, q) {
    const level = beta * s2;
    let logEvidence = 0;
    let elbo = 0;
    let rate = 0;
    let active = 0;
    eigenvalues.forEach((lambda, j) => {
      const kept = j < q && lambda > level;
      const variance = s2 + (kept ? lambda - level : 0);
      const cost = kept ? 0.5 * Math.log(lambda / level) : 0;
      logEvidence -= 0.5 * (LOG_2PI + Math.log(variance) + lambda / variance);
      elbo -= 0.5 * (LOG_2PI + Math.log(s2) + (kept ? level : lambda) / s2) + cost;
      rate += cost;
      active += kept ? 1 : 0;
    });
    return { logEvidence, elbo, rate, active, weight: 2 * level };
  }

  /** The variance of maximum likelihood for q latents: the mean of what the other axes hold. */
  function fittedVariance(eigenvalues, q) {
    const rest = eigenvalues.slice(q);
    return rest.reduce((sum, lambda) => sum + lambda, 0) / rest.length;
  }

  VaeFigures.add("sigma-weight", { linearVaeAt, fittedVariance }, function (figure) {
    const { eigenvalues } = figure.spec;
    const spectrum = figure.panel({ height: 210, title: "Variances of the digits along their axes, and the water level",
      margin: { top: 10, bottom: 36, left: 52 } });
    const values = figure.panel({ height: 250, title: "Mean ln p of the digits against the noise, and the ELBO",
      margin: { top: 12, bottom: 36, left: 52 } });
    const readouts = {
      evidence: figure.readout("exact ln p(x)", "vae-strong"),
      elbo: figure.readout("ELBO", "vae-elbo"),
      rate: figure.readout("rate", "vae-rate"),
      active: figure.readout("axes in use", "vae-generative", ""),
      weight: figure.readout("KL weight 2βσ²", "", ""),
    };
    const s2 = figure.slider("s2", { text: "noise σ²", min: 0.002, max: 100, step: 0.02, value: 0.5, log: true });
    const beta = figure.slider("beta", { text: "weight β", min: 0.1, max: 100, step: 0.02, value: 1, log: true });
    const q = figure.pick("q", { text: "latents q", values: [1, 2, 4, 8, 16, 32], value: 16 });
    figure.body.append(spectrum.node, values.node,
      html("p", { class: "vae-head vae-readouts" }, ...Object.values(readouts).map(({ node }) => node)),
      s2, beta, q,
      html("div", { class: "vae-buttons" },
        figure.button("The note's loss", { s2: 0.5, beta: 1 }),
        figure.button("F.mse_loss", { s2: eigenvalues.length / 2, beta: 1 }),
        figure.button("PyTorch-VAE, 0.00025", { s2: 0.384, beta: 1 }),
        figure.button("Fitted σ²", () =>
          figure.animate({ s2: fittedVariance(eigenvalues, figure.state.q), beta: 1 })),
        figure.reset()));

    const logs = linspace(Math.log10(0.002), 2, 141);
    const dots = (panel, xs, ys) => xs.map((x, i) => `M${tenth(panel.X(x))} ${tenth(panel.Y(ys[i]))}h0`).join("");
    return function (current) {
      const found = linearVaeAt(eigenvalues, current.s2, current.beta, current.q);
      const level = Math.log10(current.beta * current.s2);

      spectrum.axes([0, eigenvalues.length + 1], [LOWEST, 2], { x: "axis of the data, largest first",
        y: "log₁₀ of its variance", yTicks: 6 });
      const surface = Math.min(spectrum.bottom, Math.max(spectrum.top, spectrum.Y(level)));
      spectrum.mark("water", "rect", "vae-area vae-rate", { x: spectrum.left, width: spectrum.right - spectrum.left,
        y: surface, height: spectrum.bottom - surface });
      spectrum.mark("surface", "path", "vae-curve vae-rate", { d: `M${spectrum.left} ${surface}H${spectrum.right}` });
      const above = [];
      const below = [];
      eigenvalues.forEach((lambda, j) => {
        if (Math.log10(lambda) > LOWEST) (j < current.q && Math.log10(lambda) > level ? above : below).push(j);
      });
      for (const [name, cls, group] of [["drowned", "", below], ["used", "vae-generative", above]]) {
        const path = spectrum.mark(name, "path", `vae-curve ${cls}`, { "stroke-linecap": "round",
          d: dots(spectrum, group.map((j) => j + 1), group.map((j) => Math.log10(eigenvalues[j]))) });
        path.style.strokeWidth = name === "used" ? "7" : "4";
        if (name === "drowned") path.style.stroke = "currentColor";
      }
      spectrum.text("water text", "vae-halo vae-rate", spectrum.right - 4, Math.min(surface + 15, spectrum.bottom - 4),
        `water level βσ² = ${Number((current.beta * current.s2).toPrecision(3))}`, "end");

      const low = found.elbo < -230 ? -niceAbove(-1.1 * found.elbo) : -250;
      values.axes([Math.log10(0.002), 2], [low, 60], { x: "log₁₀ σ²", y: "nats", yTicks: 5 });
      const heights = Array.from(logs, (power) =>
        linearVaeAt(eigenvalues, 10 ** power, current.beta, current.q).logEvidence);
      const inside = Array.from(logs.keys()).filter((i) => heights[i] >= low);
      const curve = values.curve("curve", "", inside.map((i) => logs[i]), inside.map((i) => heights[i]));
      curve.style.stroke = "currentColor";
      curve.style.strokeOpacity = "0.55";
      const line = values.Y(found.logEvidence);
      values.mark("evidence", "line", "vae-evidence", { x1: 0, x2: values.width, y1: line, y2: line });
      const centre = values.X(Math.log10(current.s2));
      const height = values.Y(found.elbo);
      values.mark("gap", "line", "vae-curve vae-gap", { x1: centre, x2: centre, y1: line, y2: height })
        .style.strokeWidth = "5";
      values.mark("elbo", "rect", "vae-handle vae-elbo", { x: centre - 5, y: height - 5, width: 10, height: 10, rx: 2 });
      const right = centre < (values.left + values.right) / 2;
      values.text("line text", "vae-halo vae-strong", right ? values.right - 4 : values.left + 6,
        line > values.top + 22 ? line - 8 : line + 18,
        `exact ln p(x) = ${label(found.logEvidence, 1)}`, right ? "end" : "start");
      values.text("elbo text", "vae-halo vae-elbo", centre + (right ? 10 : -10), Math.min(height + 20, values.bottom - 4),
        `ELBO ${label(found.elbo, 1)}`, right ? "start" : "end");

      readouts.evidence.set(found.logEvidence);
      readouts.elbo.set(found.elbo);
      readouts.rate.set(found.rate);
      readouts.active.set(found.active, 0);
      readouts.weight.set(found.weight);
      return `${found.active} axes in use, exact ln p ${number(found.logEvidence, 1)}, ELBO ${number(found.elbo, 1)} nats`;
    };
  });
})();
