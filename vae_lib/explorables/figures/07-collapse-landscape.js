/* The landscape of a linear VAE in one direction: a saddle in the middle, or the summit. Chapter 7. */
(function () {
  "use strict";
  const { linspace, contour, number, niceAbove } = VaeFigures;
  const { html, pad, round, label, tenth } = VaeFigures.kit;

  const W_MOST = 3;
  const V_MOST = 1.5;
  const LOG_2PI = Math.log(2 * Math.PI);

  /** The best variance of the encoder for a decoder w, at the weight beta. */
  const bestVariance = ({ s2, beta, w }) => (beta * s2) / (w * w + beta * s2);

  /** Mean ln p(x) over data of variance lam, for the decoder w. */
  function landscapeEvidence({ lam, s2 }, w) {
    const s = w * w + s2;
    return -0.5 * (LOG_2PI + Math.log(s) + lam / s);
  }

  /** At (w, v) and the best d: what is climbed, the ELBO, and ln p(x) of the decoder; means over the data. */
  function landscapeValues({ lam, s2, beta, w, v }) {
    const d = bestVariance({ s2, beta, w });
    const error = (1 - w * v) ** 2 * lam + w * w * d;
    const reconstruction = -0.5 * (LOG_2PI + Math.log(s2)) - error / (2 * s2);
    const rate = 0.5 * (v * v * lam + d - 1 - Math.log(d));
    return { d, rate, objective: reconstruction - beta * rate, elbo: reconstruction - rate,
      logEvidence: landscapeEvidence({ lam, s2 }, w) };
  }

  /** The summit, and the largest mean ln p(x) of any decoder. */
  function landscapeOptimum({ lam, s2, beta }) {
    const level = beta * s2;
    const active = lam > level;
    const w = active ? Math.sqrt(lam - level) : 0;
    return { active, w, v: w / lam, d: active ? level / lam : 1,
      best: landscapeEvidence({ lam, s2 }, Math.sqrt(Math.max(lam - s2, 0))) };
  }

  /** How fast a small signal grows at w = v = 0. */
  function landscapeGrowth({ lam, s2, beta }) {
    const decoder = 1 / s2;
    const encoder = beta * lam;
    return Math.hypot(0.5 * (decoder - encoder), lam / s2) - 0.5 * (decoder + encoder);
  }

  function slope({ lam, s2, beta }, w, v) {
    const pull = ((1 - w * v) * lam) / s2;
    return [pull * v - (beta * w) / (w * w + beta * s2), pull * w - beta * lam * v];
  }

  /** Gradient ascent in continuous time from (w, v): the path until it rests, at most `most` steps. */
  function landscapeFlow(state, most = 4000) {
    const { lam, s2, beta } = state;
    const path = { t: [0], w: [state.w], v: [state.v] };
    let { w, v } = state;
    let t = 0;
    for (let i = 0; i < most; i++) {
      const first = slope(state, w, v);
      if (Math.hypot(...first) < 1e-7) break;
      const bend = (lam * (w * w + v * v + 2 * Math.abs(1 - w * v)) + 1) / s2 + beta * lam;
      const h = 0.7 / bend;
      const second = slope(state, w + (h / 2) * first[0], v + (h / 2) * first[1]);
      const third = slope(state, w + (h / 2) * second[0], v + (h / 2) * second[1]);
      const fourth = slope(state, w + h * third[0], v + h * third[1]);
      w += (h / 6) * (first[0] + 2 * second[0] + 2 * third[0] + fourth[0]);
      v += (h / 6) * (first[1] + 2 * second[1] + 2 * third[1] + fourth[1]);
      t += h;
      path.t.push(t);
      path.w.push(w);
      path.v.push(v);
    }
    return path;
  }

  const arithmetic = { landscapeEvidence, landscapeValues, landscapeOptimum, landscapeGrowth, landscapeFlow };
  VaeFigures.add("collapse-landscape", arithmetic, function (figure) {
    const { state } = figure;
    const map = figure.panel({ height: (width) => Math.min(360, Math.max(290, 0.85 * width)),
      title: "The landscape over decoder weight w and encoder weight v",
      margin: { top: 10, bottom: 36, left: 46, right: 8 } });
    const climb = figure.panel({ height: 230, title: "The ELBO along the climb, and the exact ln p(x)",
      margin: { top: 24, bottom: 36, left: 52, right: 8 } });
    const readouts = {
      elbo: figure.readout("ELBO here", "vae-elbo"),
      evidence: figure.readout("ln p(x) of this decoder", "vae-generative"),
      best: figure.readout("best ln p(x)", "vae-strong"),
      growth: figure.readout("growth rate in the middle", "vae-gap", ""),
    };
    const verdict = html("output", { class: "vae-small", "aria-live": "off" });
    const w = figure.slider("w", { text: "decoder w", min: -W_MOST, max: W_MOST, step: 0.05, value: 0.15 });
    const v = figure.slider("v", { text: "encoder v", min: -V_MOST, max: V_MOST, step: 0.05, value: -0.05 });
    const lam = figure.slider("lam", { text: "data variance λ", min: 0.5, max: 6, step: 0.1, value: 4 });
    const s2 = figure.slider("s2", { text: "noise σ²", min: 0.1, max: 5, step: 0.01, value: 0.25, log: true });
    const beta = figure.slider("beta", { text: "weight β", min: 0.1, max: 10, step: 0.02, value: 1, log: true });

    const inside = (value, most) => Math.min(most, Math.max(-most, round(value, 0.01)));
    pad(map.node, "The landscape. Drag the starting point. Arrow keys: left and right change the decoder's w, " +
      "up and down the encoder's v.", {
      move: (px, py) => {
        const [x, y] = map.invert(px, py);
        figure.set({ w: inside(x, W_MOST), v: inside(y, V_MOST) });
      },
      nudge: (dx, dy, big) => figure.set({
        w: inside(state.w + dx * (big ? 0.25 : 0.05), W_MOST),
        v: inside(state.v + dy * (big ? 0.25 : 0.05), V_MOST),
      }),
    });

    const sets = (legend, ...rows) =>
      html("fieldset", { class: "vae-set" }, html("legend", {}, legend), ...rows);
    figure.body.append(
      html("div", { class: "vae-columns" },
        html("div", {}, map.node, html("p", {}, verdict)),
        html("div", {}, climb.node)),
      html("p", { class: "vae-head vae-readouts" }, ...Object.values(readouts).map(({ node }) => node)),
      html("div", { class: "vae-columns" },
        html("div", {}, sets("Where training starts", w, v), html("div", { class: "vae-buttons" },
          figure.button("Near the middle", { w: 0.1, v: -0.08 }),
          figure.button("Far out", { w: -2, v: 1 }), figure.reset())),
        html("div", {}, sets("Data, noise and weight", lam, s2, beta))));

    const ws = linspace(-W_MOST, W_MOST, 61);
    const vs = linspace(-V_MOST, V_MOST, 61);
    let drawnKey = "";
    return function (current) {
      const optimum = landscapeOptimum(current);
      const here = landscapeValues(current);
      const growth = landscapeGrowth(current);
      map.axes([-W_MOST, W_MOST], [-V_MOST, V_MOST], { x: "decoder weight w", y: "encoder weight v", yTicks: 5, grid: false });

      const key = [current.lam, current.s2, current.beta, map.width].join();
      if (key !== drawnKey) {
        drawnKey = key;
        const field = Array.from(vs, (y) => Array.from(ws, (x) =>
          landscapeValues({ ...current, w: x, v: y }).objective));
        const top = landscapeValues({ ...current, w: optimum.w, v: optimum.v }).objective;
        let lines = "";
        for (const below of [0.02, 0.1, 0.3, 0.7, 1.5, 3, 6, 12, 25, 50]) {
          for (const [[x0, y0], [x1, y1]] of contour(field, ws, vs, top - below * Math.max(1, current.beta))) {
            lines += `M${tenth(map.X(x0))} ${tenth(map.Y(y0))}L${tenth(map.X(x1))} ${tenth(map.Y(y1))}`;
          }
        }
        map.mark("contours", "path", "vae-contour", { d: lines });
      }
      for (const sign of [1, -1]) {
        map.mark(`summit ${sign}`, "path", "vae-optimum", {
          d: `M${map.X(sign * optimum.w) - 6} ${map.Y(sign * optimum.v)}h12m-6 -6v12` });
      }
      map.mark("middle", "circle", "vae-optimum", optimum.active
        ? { cx: map.X(0), cy: map.Y(0), r: 4 } : false);

      const path = landscapeFlow(current);
      const d = path.w.map((x, i) => `${i ? "L" : "M"}${tenth(map.X(x))} ${tenth(map.Y(path.v[i]))}`).join("");
      map.mark("path", "path", "vae-curve vae-elbo", { d }).style.strokeWidth = "2.5";
      map.mark("start", "circle", "vae-handle vae-elbo", { cx: map.X(current.w), cy: map.Y(current.v), r: 8 });
      map.text("middle text", "vae-halo", map.X(0) + 8, map.Y(0) + 18, optimum.active ? "saddle" : "summit");
      map.text("summit text", "vae-halo", map.X(optimum.w), map.Y(optimum.v) - 10,
        optimum.active ? "summit" : "", "middle");

      const values = path.w.map((x, i) => landscapeValues({ ...current, w: x, v: path.v[i] }));
      // the axis ends soon after the climb has ended
      const last = values[values.length - 1].objective;
      let settled = values.length - 1;
      const nearly = 0.02 * Math.abs(values[0].objective - last) + 1e-6;
      while (settled > 0 && Math.abs(values[settled - 1].objective - last) < nearly) settled--;
      const end = niceAbove(Math.max(0.2, 1.15 * path.t[settled]));
      const lowest = Math.min(values[0].elbo, last);
      const span = niceAbove(Math.min(12, Math.max(0.5, 1.15 * (optimum.best - lowest))));
      climb.axes([0, end], [optimum.best - span, optimum.best + 0.12 * span], { x: "time of the climb", y: "nats", yTicks: 4 });
      const shown = (pick) => {
        let line = "";
        for (let i = 0; i < values.length && path.t[i] <= end; i++) {
          const y = Math.min(climb.Y(pick(values[i])), climb.bottom);
          line += `${i ? "L" : "M"}${tenth(climb.X(path.t[i]))} ${tenth(y)}`;
        }
        const rest = Math.min(climb.Y(pick(values[values.length - 1])), climb.bottom);
        return `${line}L${climb.right} ${tenth(rest)}`;
      };
      climb.mark("decoder", "path", "vae-curve vae-generative", { d: shown((value) => value.logEvidence) });
      climb.mark("elbo", "path", "vae-curve vae-elbo vae-dashed", { d: shown((value) => value.elbo) })
        .style.strokeWidth = "3";
      const line = climb.Y(optimum.best);
      climb.mark("evidence", "line", "vae-evidence", { x1: 0, x2: climb.width, y1: line, y2: line });
      climb.text("line text", "vae-halo vae-strong", climb.right - 2, line - 8, `best exact ln p(x) = ${label(optimum.best)}`, "end");
      climb.text("elbo text", "vae-halo vae-elbo", climb.right - 4, climb.bottom - 8, "ELBO (dashed)", "end");
      climb.text("decoder text", "vae-halo vae-generative", climb.right - 4, climb.bottom - 26, "ln p(x) of the decoder", "end");

      readouts.elbo.set(here.elbo);
      readouts.evidence.set(here.logEvidence);
      readouts.best.set(optimum.best);
      readouts.growth.set(growth, Math.abs(growth) < 0.1 ? 5 : 3);
      const level = current.beta * current.s2;
      verdict.textContent = optimum.active
        ? `βσ² = ${number(level, 2)} < λ = ${number(current.lam, 2)}: the middle is a saddle; training leaves it.`
        : `βσ² = ${number(level, 2)} ≥ λ = ${number(current.lam, 2)}: the middle is the summit; collapse is what the objective wants.`;
      return `ELBO here ${number(here.elbo, 2)}, best ln p(x) ${number(optimum.best, 2)} nats, growth rate ${number(growth, 3)}`;
    };
  });
})();
