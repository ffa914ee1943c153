/* Rotating the latents of a linear decoder: ln p(x) stays, the gap moves. Chapter 7. */
(function () {
  "use strict";
  const { linspace, normalLogPdf, number } = VaeFigures;
  const { html, pad, label, ladder, tenth } = VaeFigures.kit;

  /**
   * Two pixels, two latents. The principal variances are l1 and l2, the noise s2, and the columns of
   * W = diag(√(l − s2)) R are turned by a degrees. The datum lies one deviation out on both axes.
   */
  function rotatedPosterior({ a, l1, l2, s2 }) {
    const angle = (a * Math.PI) / 180;
    const c = Math.cos(angle);
    const s = Math.sin(angle);
    const first = Math.sqrt((l1 - s2) / l1); // the posterior's mean, along the principal axes
    const second = -Math.sqrt((l2 - s2) / l2);
    const M = [[l1 * c * c + l2 * s * s, (l2 - l1) * s * c], [(l2 - l1) * s * c, l1 * s * s + l2 * c * c]];
    const det = l1 * l2;
    const covariance = [[(s2 * M[1][1]) / det, (-s2 * M[0][1]) / det], [(-s2 * M[1][0]) / det, (s2 * M[0][0]) / det]];
    const gap = 0.5 * (Math.log(M[0][0]) + Math.log(M[1][1]) - Math.log(det));
    const logEvidence = normalLogPdf(Math.sqrt(l1), 0, l1) + normalLogPdf(Math.sqrt(l2), 0, l2);
    return { mean: [c * first + s * second, -s * first + c * second], covariance,
      d: [s2 / M[0][0], s2 / M[1][1]], gap, logEvidence, elbo: logEvidence - gap };
  }

  VaeFigures.add("rotate-columns", { rotatedPosterior }, function (figure) {
    const { state } = figure;
    const plane = figure.panel({ height: (width) => Math.min(360, Math.max(280, 0.9 * width)),
      title: "The posterior and the best independent q in the plane of z",
      margin: { top: 10, bottom: 36, left: 40, right: 8 } });
    const bars = figure.panel({ height: 260, title: "The ELBO and its gap against the exact ln p(x)",
      margin: { top: 6, bottom: 26, right: 4, left: 52 } });
    const readouts = {
      elbo: figure.readout("ELBO", "vae-elbo"),
      gap: figure.readout("Hadamard gap", "vae-gap"),
      logEvidence: figure.readout("ln p(x)", "vae-strong"),
      narrow: figure.readout("width of q / of the posterior, z₁", "vae-inference", ""),
    };
    const a = figure.slider("a", { text: "rotation", min: 0, max: 180, step: 1, value: 30, digits: 0, unit: "degrees" });
    const l1 = figure.slider("l1", { text: "variance λ₁", min: 0.5, max: 8, step: 0.01, value: 4, log: true });
    const l2 = figure.slider("l2", { text: "variance λ₂", min: 0.5, max: 8, step: 0.01, value: 0.6, log: true });
    const s2 = figure.slider("s2", { text: "noise σ²", min: 0.05, max: 0.45, step: 0.01, value: 0.3 });

    const turned = (degrees) => ((Math.round(degrees) % 180) + 180) % 180;
    let from = 0;
    pad(plane.node, "The plane of the latents. Drag around the middle to turn the latents. Arrow keys: left and " +
      "right turn them, up and down change the second variance.", {
      grab: (px, py) => {
        const [x, y] = plane.invert(px, py);
        from = state.a + (Math.atan2(y, x) * 180) / Math.PI;
        return null;
      },
      move: (px, py, grabbed, started) => {
        const [x, y] = plane.invert(px, py);
        if (!started) figure.set({ a: turned(from - (Math.atan2(y, x) * 180) / Math.PI) });
      },
      nudge: (dx, dy, big) => figure.set({
        a: turned(state.a + dx * (big ? 10 : 1)),
        l2: Number((state.l2 * 10 ** (dy * (big ? 0.1 : 0.02))).toPrecision(3)),
      }),
    });

    const sets = (legend, ...rows) =>
      html("fieldset", { class: "vae-set" }, html("legend", {}, legend), ...rows);
    figure.body.append(
      html("div", { class: "vae-columns" }, html("div", {}, plane.node), html("div", {}, bars.node)),
      html("p", { class: "vae-head vae-readouts" }, ...Object.values(readouts).map(({ node }) => node)),
      html("div", { class: "vae-columns" },
        html("div", {}, sets("The latents", a), html("div", { class: "vae-buttons" },
          figure.button("Principal axes", { a: 0 }), figure.button("45 degrees", { a: 45 }),
          figure.button("Equal variances", { l1: 3, l2: 3 }), figure.reset())),
        html("div", {}, sets("Data and noise", l1, l2, s2))));

    const turn = linspace(0, 2 * Math.PI, 91);
    const extent = 2;
    return function (current) {
      const found = rotatedPosterior(current);
      // both axes have the same scale
      const wide = (plane.right - plane.left) / Math.max(1, plane.bottom - plane.top);
      plane.axes([-extent * wide, extent * wide], [-extent, extent], { x: "z₁", y: "z₂", yTicks: 4 });
      const [m1, m2] = found.mean;
      const [[k11, k12], [, k22]] = found.covariance;
      const lower = [Math.sqrt(k11), k12 / Math.sqrt(k11)];
      const rest = Math.sqrt(Math.max(k22 - lower[1] ** 2, 0));
      const outline = (point) => `M${turn.reduce((text, t, i) => {
        const [x, y] = point(Math.cos(t), Math.sin(t));
        return `${text}${i ? "L" : ""}${tenth(plane.X(x))} ${tenth(plane.Y(y))}`;
      }, "")}Z`;
      for (const size of [1, 2]) {
        plane.mark(`posterior ${size}`, "path", "vae-ellipse vae-generative", { d: outline((x, y) =>
          [m1 + size * lower[0] * x, m2 + size * (lower[1] * x + rest * y)]) });
        plane.mark(`q ${size}`, "path", "vae-ellipse vae-inference vae-dashed", { d: outline((x, y) =>
          [m1 + size * Math.sqrt(found.d[0]) * x, m2 + size * Math.sqrt(found.d[1]) * y]) });
      }
      plane.mark("mean", "circle", "vae-handle vae-generative", { cx: plane.X(m1), cy: plane.Y(m2), r: 5 });
      const high = m2 < 0.2;
      plane.text("posterior text", "vae-halo vae-generative", plane.left + 8, high ? plane.top + 16 : plane.bottom - 26,
        "posterior p(z|x), solid");
      plane.text("q text", "vae-halo vae-inference", plane.left + 8, high ? plane.top + 34 : plane.bottom - 8,
        "best independent q, dashed");
      ladder(bars, { evidence: found.logEvidence, elbo: found.elbo, gap: found.gap });
      readouts.elbo.set(found.elbo);
      readouts.gap.set(found.gap, 4);
      readouts.logEvidence.set(found.logEvidence);
      readouts.narrow.set(Math.sqrt(found.d[0] / k11), 3);
      return `gap ${number(found.gap, 3)} nats at ${label(current.a, 0)} degrees, ln p(x) ${number(found.logEvidence, 2)}`;
    };
  });
})();
