/* Cross-entropy on a grey pixel, and the density that it should have been. Chapter 5. */
(function () {
  "use strict";
  const { linspace, number, niceAbove, ticks } = VaeFigures;
  const { html, svg, label } = VaeFigures.kit;

  /** ln C(λ) of the continuous Bernoulli, C = 2 artanh(t)/t with t = 1 − 2λ; near t = 0 by its series. */
  function logNormaliser(lam) {
    const t = 1 - 2 * lam;
    if (Math.abs(t) < 0.01) {
      const square = t * t;
      return Math.LN2 + Math.log1p(square * (1 / 3 + square * (1 / 5 + square * (1 / 7 + square / 9))));
    }
    return Math.log((2 * Math.atanh(t)) / t);
  }

  /** The mean of the continuous Bernoulli, 1/(1 − e^−ℓ) − 1/ℓ; near ℓ = 0 by its series. */
  function greyMean(lam) {
    const logit = Math.log(lam) - Math.log1p(-lam);
    if (Math.abs(logit) < 0.1) {
      const square = logit * logit;
      return 0.5 + logit * (1 / 12 - square * (1 / 720 - square * (1 / 30240 - square / 1209600)));
    }
    return -1 / Math.expm1(-logit) - 1 / logit;
  }

  /** Minus the cross-entropy of a pixel x, the constant it lacks, their sum, and the mass without the constant. */
  function greyPixel(x, lam) {
    const crossEntropy = -(x * Math.log(lam) + (1 - x) * Math.log1p(-lam));
    const logC = logNormaliser(lam);
    return { crossEntropy, logC, logEvidence: logC - crossEntropy, mass: Math.exp(-logC), mean: greyMean(lam) };
  }

  /** A vertical scale alone: the bar beside it stands at no place on a horizontal one. */
  function scale(panel, domain, unit) {
    panel.yDomain = domain;
    const key = [panel.width, panel.height].join();
    if (panel.axesKey === key) return;
    panel.axesKey = key;
    const { left, right, top, bottom } = panel;
    const rows = ticks(...domain, 6).map(({ value, text }) => [panel.Y(value), text]);
    panel.mark("axes", "g", "vae-axes", {}).replaceChildren(
      ...rows.map(([y]) => svg("line", { x1: left, x2: right, y1: y, y2: y, class: "vae-grid" })),
      ...rows.map(([y, text]) =>
        svg("text", { x: left - 6, y: y + 4, "text-anchor": "end", class: "vae-text" }, text)),
      svg("text", { x: 12, y: (top + bottom) / 2, "text-anchor": "middle", class: "vae-text vae-axis",
        transform: `rotate(-90 12 ${(top + bottom) / 2})` }, unit));
  }

  VaeFigures.add("grey-bernoulli", { greyPixel }, function (figure) {
    const areas = figure.panel({ height: 230, title: "Two curves over the grey values, and the areas under them",
      margin: { top: 12, bottom: 36, left: 46 } });
    const values = figure.panel({ height: 200, title: "ln p of the pixel, and minus its cross-entropy",
      margin: { top: 12, bottom: 12, left: 46 } });
    const readouts = {
      mass: figure.readout("area under e^(−cross-entropy)", "vae-elbo", ""),
      evidence: figure.readout("exact ln p(x)", "vae-strong"),
      cross: figure.readout("−cross-entropy", "vae-elbo"),
      gap: figure.readout("ln C(λ)", "vae-gap"),
      mean: figure.readout("mean of the density", "vae-generative", ""),
    };
    const x = figure.slider("x", { text: "the pixel x", min: 0, max: 1, step: 0.01, value: 0.3 });
    const lam = figure.slider("lam", { text: "decoder's λ", min: 0.01, max: 0.99, step: 0.01, value: 0.3 });
    figure.body.append(areas.node, values.node,
      html("p", { class: "vae-head vae-readouts" }, ...Object.values(readouts).map(({ node }) => node)),
      x, lam,
      html("div", { class: "vae-buttons" },
        figure.button("λ := x", () => figure.animate({ lam: Math.min(0.99, Math.max(0.01, figure.state.x)) })),
        figure.button("Middle grey", { x: 0.5, lam: 0.5 }),
        figure.button("Nearly white", { x: 0.9, lam: 0.9 }), figure.reset()));

    const xs = linspace(0, 1, 121);
    return function (current) {
      const found = greyPixel(current.x, current.lam);
      const claimed = Array.from(xs, (t) => Math.exp(-greyPixel(t, current.lam).crossEntropy));
      const density = claimed.map((value) => value / found.mass);
      areas.axes([0, 1], [0, niceAbove(1.15 * Math.max(...density))], { x: "grey value x", y: "density", yTicks: 4 });
      areas.area("claimed", "vae-elbo", xs, claimed);
      areas.curve("claimed curve", "vae-elbo vae-dashed", xs, claimed);
      areas.curve("density", "", xs, density).style.stroke = "currentColor";
      const at = areas.X(current.x);
      areas.mark("probe", "path", "vae-curve vae-dotted", { d: `M${at} ${areas.top}V${areas.bottom}` })
        .style.stroke = "currentColor";
      areas.mark("probe density", "circle", "vae-handle",
        { cx: at, cy: areas.Y(Math.exp(found.logEvidence)), r: 6 });
      areas.mark("probe claimed", "rect", "vae-handle vae-elbo",
        { x: at - 5, y: areas.Y(Math.exp(-found.crossEntropy)) - 5, width: 10, height: 10, rx: 2 });
      const mean = areas.X(found.mean);
      areas.mark("mean", "path", "vae-handle vae-generative",
        { d: `M${mean} ${areas.bottom - 9}L${mean - 6} ${areas.bottom}H${mean + 6}Z` });
      areas.text("area text", "vae-halo vae-elbo", (areas.left + areas.right) / 2, areas.Y(0) - 14,
        `area ${label(found.mass)}`, "middle");
      areas.text("density text", "vae-halo vae-strong", (areas.left + areas.right) / 2, areas.top + 12,
        "solid: continuous Bernoulli, area 1", "middle");

      scale(values, [-5, 2], "nats");
      const line = values.Y(found.logEvidence);
      const height = values.Y(-found.crossEntropy);
      const centre = (values.left + values.right) / 2;
      values.mark("bar", "rect", "vae-bar vae-elbo",
        { x: centre - 90, width: 180, y: height, height: Math.max(0, values.bottom - height) });
      values.mark("gap", "rect", "vae-bar vae-gap",
        { x: centre - 90, width: 180, y: line, height: Math.max(0, height - line) });
      values.mark("evidence", "line", "vae-evidence", { x1: 0, x2: values.width, y1: line, y2: line });
      values.text("line text", "vae-halo vae-strong", values.right - 2, line - 8,
        `exact ln p(x) = ${label(found.logEvidence)}`, "end");
      values.text("cross text", "vae-on", centre, Math.min(height + 17, values.bottom - 4),
        `−cross-entropy ${label(-found.crossEntropy)}`, "middle");
      values.text("gap text", "vae-on", centre, (line + height) / 2 + 4, `ln C ${label(found.logC)}`, "middle");

      readouts.mass.set(found.mass);
      readouts.evidence.set(found.logEvidence);
      readouts.cross.set(-found.crossEntropy);
      readouts.gap.set(found.logC);
      readouts.mean.set(found.mean);
      return `area ${number(found.mass)}, exact ln p ${number(found.logEvidence)}, minus cross-entropy ${number(-found.crossEntropy)}`;
    };
  });
})();
