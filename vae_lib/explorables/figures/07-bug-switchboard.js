/* Twelve losses of a small linear VAE, eleven of them wrong, and where training with each ends. Chapter 7. */
(function () {
  "use strict";
  const { linspace, normalLogPdf, number, niceAbove, ticks } = VaeFigures;
  const { html, svg, label } = VaeFigures.kit;

  const LATENTS = 20;
  const PIXELS = 64;
  const EPSILON = 0.01;
  const LOG_2PI = Math.log(2 * Math.PI);

  const BUGS = [
    ["none", "none", "The loss is right."],
    ["std_is_exp_logvar", "std = exp(log_var)", "The noise has the wrong size, and the KL does not know."],
    ["logstd_as_logvar", "log-std in the KL", "The KL takes a log standard deviation for a log variance."],
    ["epsilon_std", "noise × 0.01", "Hardly any noise is drawn; the KL is told of noise of size one."],
    ["kl_averaged", "KL averaged", "The KL is averaged over 20 latents: β = 1/20."],
    ["reconstruction_averaged", "reconstruction averaged", "The error is averaged over 64 pixels: β = 64."],
    ["missing_half", "missing ½", "The ½ in the exponent of the Gaussian is missing."],
    ["kl_reversed", "KL(p‖q)", "The arguments of the KL are exchanged."],
    ["scored_at_mean", "scored at the mean", "The model is perfect; the score is not a bound."],
    ["trained_at_mean", "trained at the mean", "No optimum: w grows without end."],
    ["kl_without_mean", "KL without μ²", "No optimum: v grows without end."],
    ["kl_log_std_squared", "(ln σ)² in the KL", "No optimum: d falls without end."],
  ];

  function terms(lam, s2, w, v, noise, declared) {
    return {
      reconstruction: -0.5 * (LOG_2PI + Math.log(s2)) - ((1 - w * v) ** 2 * lam + w * w * noise) / (2 * s2),
      rate: 0.5 * (v * v * lam + declared - 1 - Math.log(declared)),
    };
  }

  /** What the faulty program prints for any decoder and encoder, averaged over data of variance lam. */
  function zooObjective(bug, lam, s2, w, v, d) {
    const plain = terms(lam, s2, w, v, d, d);
    const other = (noise, declared) => {
      const { reconstruction, rate } = terms(lam, s2, w, v, noise, declared);
      return reconstruction - rate;
    };
    switch (bug) {
      case "std_is_exp_logvar": return other(d * d, d);
      case "logstd_as_logvar": return other(d, Math.sqrt(d));
      case "epsilon_std": return other(EPSILON ** 2 * d, d);
      case "kl_averaged": return plain.reconstruction - plain.rate / LATENTS;
      case "reconstruction_averaged": return plain.reconstruction - plain.rate * PIXELS;
      case "missing_half":
        return terms(lam, s2 / 2, w, v, d, d).reconstruction - 0.5 * Math.LN2 - plain.rate;
      case "kl_reversed": return plain.reconstruction - 0.5 * ((1 + v * v * lam) / d - 1 + Math.log(d));
      case "scored_at_mean": case "trained_at_mean": return other(0, d);
      case "kl_without_mean": return plain.reconstruction - plain.rate + 0.5 * v * v * lam;
      case "kl_log_std_squared": {
        const logStd = 0.5 * Math.log(d);
        return plain.reconstruction - plain.rate - logStd + 0.5 * logStd * logStd;
      }
      default: return plain.reconstruction - plain.rate;
    }
  }

  /** w², v and d where training ends; for a loss without an optimum, where it is after `n` units of time. */
  function zooOptimum(bug, lam, s2, n) {
    const filled = (level) => {
      const w2 = Math.max(lam - level, 0);
      return { w2, v: Math.sqrt(w2) / (w2 + level), d: level / (w2 + level) };
    };
    const ridge = (w2) => Math.sqrt(w2) / (w2 + s2);
    switch (bug) {
      case "std_is_exp_logvar": case "logstd_as_logvar": {
        const half = 0.5 * (1 + 2 * Math.sqrt(lam / s2));
        const seen = 1 / (half + Math.sqrt(half * half - 2));
        const w2 = Math.sqrt(lam * s2) / seen - s2;
        return { w2, v: ridge(w2), d: bug === "std_is_exp_logvar" ? seen : seen * seen };
      }
      case "epsilon_std": {
        const w2 = 0.5 * (lam + Math.sqrt(lam * lam + 4 * lam * s2 * (EPSILON ** -2 - 1))) - s2;
        return { w2, v: ridge(w2), d: s2 / (s2 + EPSILON ** 2 * w2) };
      }
      case "kl_averaged": return filled(s2 / LATENTS);
      case "reconstruction_averaged": return filled(s2 * PIXELS);
      case "missing_half": return filled(s2 / 2);
      case "kl_reversed": {
        const w2 = Math.sqrt(lam * s2) - s2;
        return { w2, v: ridge(w2), d: 1 };
      }
      case "trained_at_mean": return { w2: lam * n * n, v: ridge(lam * n * n), d: 1 };
      case "kl_without_mean": return { w2: 1 / (n * n), v: n, d: s2 / (s2 + 1 / (n * n)) };
      case "kl_log_std_squared": {
        const d = s2 / (lam * n * n);
        const w2 = Math.sqrt((lam * s2) / d) - s2;
        return { w2, v: ridge(w2), d };
      }
      default: return filled(s2);
    }
  }

  /** Everything the figure shows of one loss. */
  function zooRow(bug, lam, s2, n = 1) {
    const { w2, v, d } = zooOptimum(bug, lam, s2, n);
    const w = Math.sqrt(w2);
    const evidence = (variance) => -0.5 * (LOG_2PI + Math.log(variance) + lam / variance);
    return { w2, v, d, reported: zooObjective(bug, lam, s2, w, v, d), elbo: zooObjective("none", lam, s2, w, v, d),
      logEvidence: evidence(w2 + s2), aggregate: v * v * lam + d, model: w2 + s2, best: evidence(Math.max(lam, s2)) };
  }

  /** A scale of nats for columns that have names in place of numbers. */
  function upright(panel, columns, range) {
    panel.xDomain = [0, columns];
    panel.yDomain = range;
    const key = [panel.width, ...range].join();
    if (panel.axesKey === key) return;
    panel.axesKey = key;
    const group = panel.mark("axes", "g", "vae-axes", {});
    const middle = (panel.top + panel.bottom) / 2;
    group.replaceChildren(
      ...ticks(...range, 5).flatMap(({ value, text }) => {
        const at = panel.Y(value);
        return [
          svg("line", { x1: panel.left, x2: panel.right, y1: at, y2: at, class: "vae-grid" }),
          svg("text", { x: panel.left - 6, y: at + 4, "text-anchor": "end", class: "vae-text" }, text),
        ];
      }),
      svg("text", { x: 12, y: middle, "text-anchor": "middle", class: "vae-text vae-axis",
        transform: `rotate(-90 12 ${middle})` }, "nats"));
  }

  VaeFigures.add("bug-switchboard", { zooObjective, zooOptimum, zooRow }, function (figure) {
    const bars = figure.panel({ height: 270, title: "What is printed and what is true, against the best ln p(x)",
      margin: { top: 8, bottom: 26, right: 4, left: 52 } });
    const data = figure.panel({ height: 170, title: "Data and samples of the model",
      margin: { top: 8, bottom: 36, left: 46, right: 8 } });
    const codes = figure.panel({ height: 170, title: "Prior and aggregate posterior",
      margin: { top: 8, bottom: 36, left: 46, right: 8 } });
    const readouts = {
      reported: figure.readout("printed", "vae-strong"),
      elbo: figure.readout("true ELBO", "vae-elbo"),
      evidence: figure.readout("ln p(x)", "vae-generative"),
      best: figure.readout("best ln p(x)", ""),
      w2: figure.readout("w²", "", ""),
      v: figure.readout("v", "", ""),
      d: figure.readout("d", "", ""),
      aggregate: figure.readout("aggregate's variance", "vae-inference", ""),
      model: figure.readout("model's variance", "vae-generative", ""),
    };
    const words = html("output", { class: "vae-small", "aria-live": "off" });
    const bug = figure.choice("bug", { text: "The mistake:", value: "none",
      options: BUGS.map(([name, text]) => [name, text]) });
    const lam = figure.slider("lam", { text: "data variance λ", min: 1, max: 16, step: 0.01, value: 4, log: true });
    const s2 = figure.slider("s2", { text: "noise σ²", min: 0.05, max: 0.9, step: 0.01, value: 0.25, log: true });
    const n = figure.slider("n", { text: "trained for", min: 1, max: 1000, step: 0.05, value: 3, log: true });
    figure.body.append(bug, html("p", {}, words), bars.node,
      html("p", { class: "vae-head vae-readouts" }, ...Object.values(readouts).map(({ node }) => node)),
      html("div", { class: "vae-columns" }, html("div", {}, data.node), html("div", {}, codes.node)),
      lam, s2, n,
      html("p", { class: "vae-small" }, "“Trained for” matters only for the last three, which have no optimum."),
      html("div", { class: "vae-buttons" }, figure.reset()));

    const halves = linspace(-1, 1, 241);
    const bell = (panel, name, cls, extent, variance, top) => panel.curve(name, cls,
      halves.map((t) => t * extent), halves.map((t) => Math.min(top, Math.exp(normalLogPdf(t * extent, 0, variance)))));
    return function (current) {
      const row = zooRow(current.bug, current.lam, current.s2, current.n);
      const over = row.reported > row.best + 1e-9;
      const columns = [
        { name: "printed", value: row.reported, cls: over ? "vae-gap" : "" },
        { name: "true ELBO", value: row.elbo, cls: "vae-elbo" },
        { name: "ln p(x)", value: row.logEvidence, cls: "vae-generative" },
      ];
      const worst = Math.min(...columns.map(({ value }) => value));
      const down = niceAbove(Math.min(8, Math.max(1, 1.25 * (row.best - worst))));
      const up = over ? niceAbove(Math.min(8, 1.3 * (row.reported - row.best))) : 0.3 * down;
      upright(bars, columns.length, [row.best - down, row.best + up]);
      const line = bars.Y(row.best);
      columns.forEach(({ name, value, cls }, i) => {
        const centre = bars.X(i + 0.5);
        const width = Math.min(150, 0.3 * (bars.right - bars.left));
        const top = Math.max(bars.top, Math.min(bars.bottom - 3, bars.Y(value)));
        bars.mark(`bar ${i}`, "rect", "vae-bar", { x: centre - width / 2, width, y: top, height: bars.bottom - top,
          class: `vae-bar ${cls}` });
        const short = bars.bottom - top < 24;
        const cut = bars.Y(value) > bars.bottom ? "↓ " : bars.Y(value) < bars.top ? "↑ " : "";
        bars.mark(`value ${i}`, "text", "vae-text", { x: centre, y: short ? top - 6 : top + 16, "text-anchor": "middle",
          class: `vae-text ${short ? `vae-halo ${cls}` : "vae-on"}` }, cut + label(value));
        bars.text(`name ${i}`, "", centre, bars.bottom + 17, name, "middle");
      });
      bars.mark("evidence", "line", "vae-evidence", { x1: 0, x2: bars.width, y1: line, y2: line });
      bars.text("line text", "vae-halo vae-strong", bars.right - 2, line - 8,
        `${bars.width > 500 ? "best exact ln p(x)" : "best ln p(x)"} = ${label(row.best)}`, "end");

      const extent = 3 * Math.sqrt(current.lam);
      const peak = 1.25 * Math.exp(normalLogPdf(0, 0, Math.min(current.lam, Math.max(row.model, current.lam / 9))));
      data.axes([-extent, extent], [0, peak], { x: "x", y: "density", yTicks: 2 });
      bell(data, "data", "vae-dotted", extent, current.lam, peak).style.stroke = "var(--vf-data)";
      bell(data, "model", "vae-generative", extent, row.model, peak);
      data.text("data text", "vae-halo", data.left + 6, data.top + 12, "data, dotted");
      data.text("model text", "vae-halo vae-generative", data.right - 4, data.top + 12, "samples of the model", "end");
      codes.axes([-4, 4], [0, 1], { x: "z", y: "density", yTicks: 2 });
      bell(codes, "prior", "vae-generative vae-dotted", 4, 1, 1);
      bell(codes, "aggregate", "vae-inference", 4, row.aggregate, 1);
      codes.text("prior text", "vae-halo vae-generative", codes.left + 6, codes.top + 12, "prior, dotted");
      codes.text("aggregate text", "vae-halo vae-inference", codes.right - 4, codes.top + 12, "all codes together", "end");

      for (const key of ["reported", "elbo", "w2", "v", "d", "aggregate", "model"]) readouts[key].set(row[key], 4);
      readouts.evidence.set(row.logEvidence, 4);
      readouts.best.set(row.best, 4);
      words.textContent = BUGS.find(([name]) => name === current.bug)[2] + (over
        ? " The printed number exceeds the best ln p(x) of any decoder: it is no bound." : "");
      return `printed ${number(row.reported, 2)}, true ELBO ${number(row.elbo, 2)}, best ln p(x) ${number(row.best, 2)} nats`;
    };
  });
})();
