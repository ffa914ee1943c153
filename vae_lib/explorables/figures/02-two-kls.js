/* Two KLs: p = ½ N(−a, ¼) + ½ N(a, ¼), q = N(m, s²). Chapter 2. */
(function () {
  "use strict";
  const { linspace, normalLogPdf, contour, number, niceAbove } = VaeFigures;
  const { html, svg, fill, pad, round, rgb, tenth } = VaeFigures.kit;

  const MODE_VARIANCE = 0.25;

  function mixtureLogPdf(x, a) {
    const t = Math.abs(a * x) / MODE_VARIANCE;
    const logCosh = t + Math.log1p(Math.exp(-2 * t)) - Math.LN2;
    return logCosh - 0.5 * (Math.log(2 * Math.PI) + Math.log(MODE_VARIANCE) + (x * x + a * a) / MODE_VARIANCE);
  }

  /** t ln(t/u) from the two logarithms; 0 where t has underflowed to 0. */
  function klIntegrand(logT, logU) {
    const t = Math.exp(logT);
    return t === 0 ? 0 : t * (logT - logU);
  }

  /**
   * Both KLs by the trapezoid rule, each with its positive and its negative area.
   * The ends vanish, so the rule is a plain sum. [−32, 32] holds 8.6 standard deviations of q in the
   * widest corner of the map; [−12, 12] would lose 2.3 nats there.
   */
  function twoKls({ m, s, a }, points = 3201, halfWidth = 32) {
    const step = (2 * halfWidth) / (points - 1);
    const result = { reverse: 0, reversePositive: 0, forward: 0, forwardPositive: 0 };
    for (let i = 0; i < points; i++) {
      const x = -halfWidth + i * step;
      const logP = mixtureLogPdf(x, a);
      const logQ = normalLogPdf(x, m, s * s);
      const reverse = klIntegrand(logQ, logP) * step;
      const forward = klIntegrand(logP, logQ) * step;
      result.reverse += reverse;
      result.forward += forward;
      if (reverse > 0) result.reversePositive += reverse;
      if (forward > 0) result.forwardPositive += forward;
    }
    result.reverseNegative = result.reverse - result.reversePositive;
    result.forwardNegative = result.forward - result.forwardPositive;
    return result;
  }

  /** −H(p) = ∫ p ln p. */
  function mixtureNegativeEntropy(a) {
    const step = 0.01;
    let sum = 0;
    for (let x = 0.5 * step; x < a + 6; x += step) {
      const logP = mixtureLogPdf(x, a);
      sum += Math.exp(logP) * logP;
    }
    return 2 * step * sum;
  }

  /** KL(p‖q) on a grid, rows s, columns m; the cross-entropy needs only the moments of p. */
  function forwardKlMap(a, ms, ss) {
    const negativeEntropy = mixtureNegativeEntropy(a);
    return Array.from(ss, (s) =>
      Float64Array.from(ms, (m) => {
        const secondMoment = MODE_VARIANCE + a * a + m * m;
        return negativeEntropy + 0.5 * (Math.log(2 * Math.PI) + 2 * Math.log(s) + secondMoment / (s * s));
      }));
  }

  const MAP_NODES = linspace(-6, 6, 61);
  const MAP_WEIGHTS = MAP_NODES.map((e) => Math.exp(normalLogPdf(e, 0, 1)) * 0.2);

  /** KL(q‖p) on a grid that is symmetric in m; good to drawing accuracy: ln p comes from a table. */
  function reverseKlMap(a, ms, ss) {
    const perUnit = 100;
    const reach = Math.max(...ms) + 6 * Math.max(...ss);
    const table = linspace(0, Math.ceil(reach) + 1, (Math.ceil(reach) + 1) * perUnit + 1)
      .map((x) => mixtureLogPdf(x, a));
    return Array.from(ss, (s) => {
      const row = new Float64Array(ms.length);
      for (let j = 0; 2 * j < ms.length; j++) {
        let meanLogP = 0;
        for (let i = 0; i < MAP_NODES.length; i++) {
          const place = Math.abs(ms[j] + s * MAP_NODES[i]) * perUnit;
          const k = Math.floor(place);
          meanLogP += MAP_WEIGHTS[i] * (table[k] + (place - k) * (table[k + 1] - table[k]));
        }
        const value = -0.5 * (Math.log(2 * Math.PI) + 1) - Math.log(s) - meanLogP;
        row[j] = value;
        row[ms.length - 1 - j] = value;
      }
      return row;
    });
  }

  /** A stationary point of KL(q‖p): the damped fixed point E f′ = 0, 1/s² = −E f″ of f = ln p. */
  function reverseStationary(a, m, s) {
    const slope = a / MODE_VARIANCE;
    const step = 0.2;
    for (let round = 0; round < 300; round++) {
      let first = 0;
      let second = 0;
      for (let e = -7; e <= 7.001; e += step) {
        const weight = (Math.exp(-0.5 * e * e) * step) / Math.sqrt(2 * Math.PI);
        const x = m + s * e;
        const tanh = Math.tanh(slope * x);
        first += weight * (slope * tanh - x / MODE_VARIANCE);
        second += weight * (slope * slope * (1 - tanh * tanh) - 1 / MODE_VARIANCE);
      }
      const variance = second < 0 ? -1 / second : 4 * s * s;
      const move = 0.5 * variance * first;
      m += move;
      s = Math.sqrt(s * Math.sqrt(variance));
      if (Math.abs(move) < 1e-6 && Math.abs(variance / (s * s) - 1) < 1e-6) break;
    }
    return { m: Math.abs(m), s };
  }

  /** The best q for KL(q‖p) with m ≥ 0: on one mode, or between two that are close. */
  function reverseOptimum(a) {
    const candidates = [
      reverseStationary(a, a, Math.sqrt(MODE_VARIANCE)),
      reverseStationary(a, 0, Math.sqrt(MODE_VARIANCE + a * a)),
    ];
    const [one, other] = candidates.map(({ m, s }) => twoKls({ m, s, a }).reverse);
    return one < other ? candidates[0] : candidates[1];
  }

  function forwardOptimum(a) {
    return { m: 0, s: Math.sqrt(MODE_VARIANCE + a * a) };
  }

  VaeFigures.add("two-kls", {
    mixtureLogPdf, klIntegrand, twoKls, forwardKlMap, reverseKlMap, reverseOptimum, forwardOptimum,
  }, function (figure) {
    const { state } = figure;
    const densities = figure.panel({ height: 138, title: "The densities p and q over x",
      margin: { bottom: 20 } });
    const integrands = { reverse: "q ln(q/p)", forward: "p ln(p/q)" };
    const panels = {};
    const heads = {};
    const totals = {};
    const parts = {};
    for (const [which, title] of Object.entries(integrands)) {
      const last = which === "forward";
      panels[which] = figure.panel({ height: last ? 130 : 112, title: `The integrand ${title} over x`,
        margin: { bottom: last ? 36 : 20 } });
      totals[which] = figure.readout(which === "reverse" ? "KL(q‖p)" : "KL(p‖q)", "vae-gap");
      parts[which] = html("output", { class: "vae-small", "aria-live": "off" });
      heads[which] = html("p", { class: "vae-head vae-readouts" }, totals[which].node, parts[which]);
    }
    const map = figure.panel({ height: (width) => Math.min(380, Math.max(280, width * 1.05)),
      title: "Map of the KL over m and s", margin: { top: 10, bottom: 36, left: 40 } });
    const shade = html("canvas", { class: "vae-underlay", "aria-hidden": "true" });
    map.node.prepend(shade);

    const m = figure.slider("m", { text: "mean m of q", min: -4, max: 4, step: 0.05, value: 1 });
    const s = figure.slider("s", { text: "std s of q", min: 0.25, max: 3.25,
      step: 0.05, value: 1 });
    const a = figure.slider("a", { text: "modes of p, ±a", min: 0, max: 3, step: 0.05, value: 2 });
    const direction = figure.choice("map", { text: "Map (nats) of", value: "reverse",
      options: [["reverse", "KL(q‖p)"], ["forward", "KL(p‖q)"]] });

    pad(map.node, "Map of q: mean m to the right, standard deviation s upwards. Drag, or use the " +
      "arrow keys; with shift the steps are larger.", {
      move: (px, py) => {
        const [x, y] = map.invert(px, py);
        figure.set({ m: round(x, 0.05), s: round(y, 0.05) });
      },
      nudge: (dx, dy, big) => {
        const step = big ? 0.25 : 0.05;
        figure.set({ m: round(state.m + dx * step, 0.05), s: round(state.s + dy * step, 0.05) });
      },
    });

    figure.body.append(
      html("div", { class: "vae-columns" },
        html("div", {}, html("p", { class: "vae-head" }, "The two densities"), densities.node,
          heads.reverse, panels.reverse.node, heads.forward, panels.forward.node),
        html("div", {}, direction, map.node, m, s, a)),
      html("div", { class: "vae-buttons" },
        figure.button("Best q for KL(q‖p)", () =>
          figure.animate({ ...reverseOptimum(state.a), map: "reverse" })),
        figure.button("Best q for KL(p‖q)", () =>
          figure.animate({ ...forwardOptimum(state.a), map: "forward" })),
        figure.reset()));

    const hatch = svg("pattern", { id: figure.id("hatch"), width: 6, height: 6,
      patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("line", { x1: 1, x2: 1, y1: 0, y2: 6, class: "vae-hatch" }));
    panels.reverse.svg.append(svg("defs", {}, hatch));

    const xs = linspace(-6, 6, 241);
    const ms = linspace(-4, 4, 65);
    const ss = linspace(0.25, 3.25, 49);
    const levels = [0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128];
    let mapKey = "";

    function drawMap({ map: which, a: separation }) {
      map.axes([-4, 4], [0.25, 3.25], { x: "mean m of q", y: "standard deviation s", yTicks: 4, grid: false });
      const key = [which, separation, map.width, figure.theme].join();
      if (key === mapKey) return;
      mapKey = key;
      const field = (which === "reverse" ? reverseKlMap : forwardKlMap)(separation, ms, ss);
      const [red, green, blue] = rgb(figure.node, "--vf-gap");
      shade.width = ms.length;
      shade.height = ss.length;
      const pen = shade.getContext("2d");
      const picture = pen.createImageData(ms.length, ss.length);
      for (let i = 0; i < ss.length; i++) {
        for (let j = 0; j < ms.length; j++) {
          const alpha = 150 * (1 - Math.exp(-field[ss.length - 1 - i][j] / 4));
          const at = 4 * (i * ms.length + j);
          picture.data[at] = red;
          picture.data[at + 1] = green;
          picture.data[at + 2] = blue;
          picture.data[at + 3] = alpha;
        }
      }
      pen.putImageData(picture, 0, 0);
      Object.assign(shade.style, { left: `${map.left}px`, top: `${map.top}px`,
        width: `${map.right - map.left}px`, height: `${map.bottom - map.top}px` });

      const best = which === "reverse" ? reverseOptimum(separation) : forwardOptimum(separation);
      const [side, ray] = which === "reverse" ? [-1, 0.35] : [1, 0.4];
      const bestX = map.X(best.m);
      const bestY = map.Y(best.s);
      let last = Infinity;
      levels.forEach((level, i) => {
        const segments = contour(field, ms, ss, level);
        const d = segments.map(([[x0, y0], [x1, y1]]) =>
          `M${tenth(map.X(x0))} ${tenth(map.Y(y0))}L${tenth(map.X(x1))} ${tenth(map.Y(y1))}`);
        map.mark(`level ${i}`, "path", "vae-contour", { d: d.join("") });
        // labels stand on a ray from the optimum (upwards or downwards), so that they read in order
        let at = null;
        let nearest = Infinity;
        for (const [[x, y]] of segments) {
          const px = map.X(x) - bestX;
          const py = map.Y(y) - bestY;
          const off = Math.abs(px - ray * Math.abs(py));
          if (off < nearest && side * py >= 0 && px * px + py * py > 34 * 34) {
            nearest = off;
            at = [bestX + px, bestY + py];
          }
        }
        const room = at && nearest < 6 && at[1] > map.top + 10 && Math.abs(at[1] - last) > 14;
        if (room) last = at[1];
        map.mark(`level text ${i}`, "text", "vae-text vae-halo vae-level",
          room ? { x: at[0], y: at[1] + 4, "text-anchor": "middle" } : false, String(level));
      });
      const optima = which === "reverse" && best.m > 1e-3 ? [best, { ...best, m: -best.m }] : [best];
      for (const [i, optimum] of [optima[0], optima[1]].entries()) {
        map.mark(`optimum ${i}`, "path", "vae-optimum", optimum ? { d:
          `M${map.X(optimum.m) - 6} ${map.Y(optimum.s)}h12M${map.X(optimum.m)} ${map.Y(optimum.s) - 6}v12` } : false);
        map.mark(`optimum text ${i}`, "text", "vae-text vae-halo",
          optimum ? { x: map.X(optimum.m), y: map.Y(optimum.s) - 11, "text-anchor": "middle" } : false, "best");
      }
    }

    return function (current) {
      const logP = xs.map((x) => mixtureLogPdf(x, current.a));
      const logQ = xs.map((x) => normalLogPdf(x, current.m, current.s ** 2));
      const p = logP.map(Math.exp);
      const q = logQ.map(Math.exp);
      const top = niceAbove(1.15 * Math.max(...p, ...q));
      densities.axes([-6, 6], [0, top], { y: "density" });
      densities.area("p area", "vae-generative", xs, p);
      densities.area("q area", "vae-inference", xs, q);
      densities.curve("p", "vae-generative", xs, p);
      densities.curve("q", "vae-inference vae-dashed", xs, q);
      const at = (value) => Math.min(Math.max(value, -5.4), 5.4);
      const peakP = Math.exp(mixtureLogPdf(current.a, current.a));
      densities.text("p text", "vae-generative vae-halo", densities.X(at(-current.a)),
        densities.Y(peakP) - 6, "p", "middle");
      densities.text("q text", "vae-inference vae-halo", densities.X(at(current.m)),
        densities.Y(Math.max(...q)) - 6, "q", "middle");

      const kl = twoKls(current);
      for (const which of ["reverse", "forward"]) {
        const panel = panels[which];
        const f = which === "reverse"
          ? logQ.map((value, i) => klIntegrand(value, logP[i]))
          : logP.map((value, i) => klIntegrand(value, logQ[i]));
        const high = niceAbove(Math.max(0.2, 1.05 * Math.max(...f)));
        const low = -niceAbove(Math.max(0.1 * high, 1.05 * -Math.min(...f)));
        panel.axes([-6, 6], [low, high], { y: "nats per unit of z",
          x: which === "forward" ? "z" : "" });
        panel.area("positive", "vae-gap", xs, f.map((value) => Math.max(value, 0)));
        panel.area("negative", "vae-negative", xs, f.map((value) => Math.min(value, 0)))
          .style.fill = `url(#${figure.id("hatch")})`;
        panel.curve("curve", "vae-gap", xs, f);
        totals[which].set(kl[which]);
        parts[which].textContent =
          `area of ${integrands[which]}: ${number(kl[`${which}Positive`], 2)} above, ` +
          `${number(-kl[`${which}Negative`], 2)} below`;
      }
      drawMap(current);
      map.mark("q", "circle", "vae-handle vae-inference",
        { cx: map.X(current.m), cy: map.Y(current.s), r: 9 });
      map.text("q text", "vae-halo vae-inference", map.X(current.m) + 13, map.Y(current.s) + 4, "q");
      return `KL(q‖p) ${number(kl.reverse, 2)} nats, KL(p‖q) ${number(kl.forward, 2)} nats`;
    };
  });
})();
