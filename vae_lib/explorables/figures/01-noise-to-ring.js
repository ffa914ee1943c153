/* From noise to ring: x = (1 − t) z + t g(z), with its exact density and entropy. Chapter 1. */
(function () {
  "use strict";
  const { uniforms, number } = VaeFigures;
  const { html, label, pad, round, rgb, tenth } = VaeFigures.kit;

  const MOST = 2000;
  const CELLS = 96;
  const EULER = 0.5772156649015329;

  /** ln p of the bent cloud; −∞ where no z is mapped to. The map stretches lengths to t + a r. */
  function bentLogPdf(x, y, t) {
    const radius = Math.hypot(x, y);
    if (t === 0) return -0.5 * radius * radius - Math.log(2 * Math.PI);
    if (radius <= t) return -Infinity;
    const a = 1 - 0.9 * t;
    const r = (radius - t) / a;
    return Math.log(r) - Math.log(a) - 0.5 * r * r - Math.log(2 * Math.PI) - Math.log(radius);
  }

  /** Its entropy in nats; the one average without a closed form by the trapezoid rule in ln r. */
  function bentEntropy(t, points = 801) {
    const a = 1 - 0.9 * t;
    const step = (20 + Math.log(9)) / (points - 1);
    let meanLogRadius = 0;
    for (let i = 0; i < points; i++) {
      const r = Math.exp(-20 + i * step);
      meanLogRadius += r * r * Math.exp(-0.5 * r * r) * step * Math.log(t + a * r);
    }
    return 1 + Math.log(2 * Math.PI * a) - 0.5 * (Math.LN2 - EULER) + meanLogRadius;
  }

  /** E ln p of the best single Gaussian, which has the variance of the cloud. */
  function bestGaussian(t) {
    const a = 1 - 0.9 * t;
    const variance = 0.5 * (t * t + 2 * t * a * Math.sqrt(Math.PI / 2) + 2 * a * a);
    return -Math.log(2 * Math.PI * Math.E * variance);
  }

  /** Standard normal points of the plane, always the same, as [x0, y0, x1, y1, …]. */
  function normalPoints(count, seed = 1) {
    const u = uniforms(seed, 2 * count);
    const z = new Float64Array(2 * count);
    for (let i = 0; i < count; i++) {
      const r = Math.sqrt(-2 * Math.log1p(-u[2 * i]));
      z[2 * i] = r * Math.cos(2 * Math.PI * u[2 * i + 1]);
      z[2 * i + 1] = r * Math.sin(2 * Math.PI * u[2 * i + 1]);
    }
    return z;
  }

  /** The first count points, bent. */
  function bentPoints(count, t) {
    const x = normalPoints(count);
    for (let i = 0; i < count; i++) {
      const scale = 1 - 0.9 * t + t / Math.hypot(x[2 * i], x[2 * i + 1]);
      x[2 * i] *= scale;
      x[2 * i + 1] *= scale;
    }
    return x;
  }

  VaeFigures.add("noise-to-ring", { bentLogPdf, bentEntropy, bestGaussian, bentPoints }, function (figure) {
    const { state } = figure;
    const plane = figure.panel({ height: (width) => Math.min(380, Math.max(280, width)),
      title: "The points and their density in the plane", margin: { top: 10, bottom: 36, left: 40 } });
    const shade = html("canvas", { class: "vae-underlay", "aria-hidden": "true", width: CELLS, height: CELLS });
    plane.node.prepend(shade);
    const means = figure.panel({ height: 190, title: "The mean of ln p over the first points, and its exact value",
      margin: { bottom: 36, left: 46 } });
    const readouts = {
      ceiling: figure.readout("exact E ln p", "vae-strong"),
      mean: figure.readout("mean over the points", ""),
      gaussian: figure.readout("best Gaussian", "vae-elbo"),
      probe: figure.readout("ln p at the probe", "vae-generative"),
    };
    const t = figure.slider("t", { text: "bend t", min: 0, max: 1, step: 0.02, value: 1 });
    const n = figure.pick("n", { text: "points", values: [50, 100, 200, 500, 1000, MOST], value: 500 });
    const x = figure.slider("x", { text: "probe, x", min: -3, max: 3, step: 0.05, value: 1.1 });
    const y = figure.slider("y", { text: "probe, y", min: -3, max: 3, step: 0.05, value: 0 });
    pad(plane.node, "The plane of x. Drag the probe, or move it with the arrow keys.", {
      move: (px, py) => {
        const [a, b] = plane.invert(px, py);
        figure.set({ x: round(a, 0.01), y: round(b, 0.01) });
      },
      nudge: (dx, dy, big) => figure.set({
        x: round(state.x + dx * (big ? 0.25 : 0.05), 0.01), y: round(state.y + dy * (big ? 0.25 : 0.05), 0.01) }),
    });
    figure.body.append(
      html("div", { class: "vae-columns" },
        html("div", {}, plane.node),
        html("div", {}, t, n, x, y,
          html("p", { class: "vae-head vae-readouts" }, ...Object.values(readouts).map(({ node }) => node)),
          means.node,
          html("div", { class: "vae-buttons" },
            figure.button("Plain noise", { t: 0 }), figure.button("The ring", { t: 1 }), figure.reset()))));

    let shadeKey = "";
    function drawDensity(bend, halfX, halfY) {
      const key = [bend, halfX, halfY, figure.theme, plane.width].join();
      if (key === shadeKey) return;
      shadeKey = key;
      const [red, green, blue] = rgb(figure.node, "--vf-generative");
      const pen = shade.getContext("2d");
      const picture = pen.createImageData(CELLS, CELLS);
      for (let i = 0; i < CELLS; i++) {
        for (let j = 0; j < CELLS; j++) {
          const p = Math.exp(bentLogPdf(((2 * j + 1) / CELLS - 1) * halfX, (1 - (2 * i + 1) / CELLS) * halfY, bend));
          picture.data.set([red, green, blue, 190 * (1 - Math.exp(-2.5 * p))], 4 * (i * CELLS + j));
        }
      }
      pen.putImageData(picture, 0, 0);
      Object.assign(shade.style, { left: `${plane.left}px`, top: `${plane.top}px`,
        width: `${plane.right - plane.left}px`, height: `${plane.bottom - plane.top}px` });
    }

    return function (current) {
      const bend = current.t;
      const halfY = 3.2 - 1.5 * bend;
      const halfX = halfY * (plane.right - plane.left) / (plane.bottom - plane.top);
      plane.axes([-halfX, halfX], [-halfY, halfY], { x: "x₁", y: "x₂", grid: false });
      drawDensity(bend, halfX, halfY);

      const points = bentPoints(current.n, bend);
      let d = "";
      let sum = 0;
      const counts = [];
      const running = [];
      for (let i = 0; i < current.n; i++) {
        const [px, py] = [points[2 * i], points[2 * i + 1]];
        if (Math.abs(px) < halfX && Math.abs(py) < halfY) d += `M${tenth(plane.X(px))} ${tenth(plane.Y(py))}h0`;
        sum += bentLogPdf(px, py, bend);
        if ((i + 1) % (current.n / 50) === 0) {
          counts.push(i + 1);
          running.push(sum / (i + 1));
        }
      }
      const dots = plane.mark("dots", "path", "vae-curve", { d, "stroke-linecap": "round" });
      Object.assign(dots.style, { stroke: "var(--vf-data)", strokeWidth: current.n > 500 ? "2.2" : "3" });
      const inside = Math.abs(current.x) < halfX && Math.abs(current.y) < halfY;
      plane.mark("probe", "circle", "vae-handle", inside ? {
        cx: plane.X(current.x), cy: plane.Y(current.y), r: 7 } : false);

      const ceiling = -bentEntropy(bend);
      const gaussian = bestGaussian(bend);
      const low = Math.min(gaussian, ceiling, ...running) - 0.35;
      means.axes([0, current.n], [Math.floor(2 * low) / 2, Math.ceil(2 * (Math.max(ceiling, ...running) + 0.3)) / 2],
        { x: "points", y: "nats" });
      const line = means.Y(ceiling);
      means.mark("evidence", "line", "vae-evidence", { x1: 0, x2: means.width, y1: line, y2: line });
      const other = means.Y(gaussian);
      means.mark("gaussian", "path", "vae-curve vae-elbo vae-dashed", { d: `M${means.left} ${other}H${means.right}` });
      means.curve("running", "", counts, running).style.stroke = "var(--vf-data)";
      means.text("ceiling text", "vae-halo vae-strong", means.right - 4, line - 8,
        `exact E ln p = ${label(ceiling)}`, "end");
      means.text("gaussian text", "vae-halo vae-elbo", means.right - 4, other + 16,
        `best Gaussian ${label(gaussian)}`, "end");

      const probe = bentLogPdf(current.x, current.y, bend);
      readouts.ceiling.set(ceiling, 5);
      readouts.mean.set(sum / current.n);
      readouts.gaussian.set(gaussian);
      readouts.probe.set(Number.isFinite(probe) ? number(probe) : "-inf");
      return `exact E ln p ${number(ceiling, 3)}, ln p at the probe ${number(probe, 3)} nats`;
    };
  });
})();
