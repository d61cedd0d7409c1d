// Draws the panels that the server answers: lines, stacks, heat maps, with marks and one crosshair.
"use strict";
(() => {
  const TONES = { good: "--fill-good", warn: "--fill-warn", bad: "--fill-bad", info: "--fill-info", muted: "--fill-muted", neutral: "--fill-neutral" };
  const MARKS = { alert: "--fill-bad", run: "--fill-info", deploy: "--fill-good" };
  const HEIGHT = 196, places = [...document.querySelectorAll("[data-chart]")];
  if (!places.length) return;
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const sync = uPlot.sync("page");
  const two = (n) => String(n).padStart(2, "0");
  let marks = [], zooming = false;

  // As the server writes them.
  const digits = (v, most) => {
    const size = Math.abs(v), n = most ?? (size >= 100 || v === Math.round(v) ? 0 : size >= 10 ? 1 : 2);
    return size && size < 0.01 ? v.toPrecision(1) : v.toLocaleString("en-US", { minimumFractionDigits: 0, maximumFractionDigits: n });
  };
  const scaled = (v, base, names, plain) => {
    for (let i = names.length; i > 0; i--) if (Math.abs(v) >= base ** i) return digits(v / base ** i) + " " + names[i - 1];
    return digits(v) + plain;
  };
  const figure = (v, unit) => {
    if (v === null || v === undefined) return "–";
    if (unit === "percentunit") return digits(v * 100) + " %";
    if (unit === "s") {
      const s = Math.abs(v);
      if (s >= 172800) return digits(v / 86400) + " d";
      if (s >= 7200) return digits(v / 3600) + " h";
      if (s >= 120) return digits(v / 60) + " min";
      return s >= 1 || s === 0 ? digits(v) + " s" : s >= 1e-3 ? digits(v * 1e3) + " ms" : digits(v * 1e6) + " µs";
    }
    if (unit === "m") return figure(v * 60, "s");
    if (unit === "bytes") return scaled(v, 1024, ["KiB", "MiB", "GiB", "TiB"], " B");
    if (unit === "bps") return scaled(v, 1000, ["k", "M", "G"], " ") + "bit/s";
    if (unit === "reqps" || unit === "cps") return scaled(v, 1000, ["k", "M", "G"], "") + " /s";
    if (unit === "bool") return v ? "yes" : "no";
    return unit === "short" ? scaled(v, 1000, ["k", "M", "G"], "") : digits(v);
  };
  const clock = (s, long) => {
    const d = new Date(s * 1000), time = two(d.getUTCHours()) + ":" + two(d.getUTCMinutes());
    return long ? `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())} ${time}:${two(d.getUTCSeconds())} UTC` : time;
  };

  const hooks = (chart) => ({
    draw: [(u) => {
      const ctx = u.ctx, box = u.bbox, dpr = devicePixelRatio;
      ctx.save();
      ctx.beginPath(); ctx.rect(box.left, box.top, box.width, box.height); ctx.clip();
      for (const line of chart.lines) {
        const y = u.valToPos(line.value, "y", true);
        ctx.strokeStyle = css(TONES[line.tone] || "--fill-neutral"); ctx.lineWidth = 1.5 * dpr; ctx.setLineDash([6 * dpr, 4 * dpr]);
        ctx.beginPath(); ctx.moveTo(box.left, y); ctx.lineTo(box.left + box.width, y); ctx.stroke();
      }
      for (const mark of marks) {
        const x = u.valToPos(mark.at, "x", true), colour = css(MARKS[mark.kind] || "--fill-muted");
        ctx.strokeStyle = ctx.fillStyle = colour; ctx.lineWidth = dpr; ctx.setLineDash(mark.kind === "deploy" ? [] : [2 * dpr, 3 * dpr]);
        if (mark.ended) {
          ctx.globalAlpha = 0.1;
          ctx.fillRect(x, box.top, Math.max(dpr, u.valToPos(mark.ended, "x", true) - x), box.height);
          ctx.globalAlpha = 1;
        }
        ctx.beginPath(); ctx.moveTo(x, box.top); ctx.lineTo(x, box.top + box.height); ctx.stroke();
        ctx.setLineDash([]); ctx.beginPath(); ctx.moveTo(x - 4 * dpr, box.top); ctx.lineTo(x + 4 * dpr, box.top); ctx.lineTo(x, box.top + 6 * dpr); ctx.fill();
      }
      ctx.restore();
    }],
    setSelect: [(u) => {
      if (u.select.width < 8 || zooming) return;
      zooming = true;
      const from = u.posToVal(u.select.left, "x"), to = u.posToVal(u.select.left + u.select.width, "x");
      const here = new URL(location.href);
      here.searchParams.delete("range");
      here.searchParams.set("from", Math.floor(from)); here.searchParams.set("to", Math.ceil(Math.max(to, from + 60)));
      location.assign(here);
    }],
    setCursor: [(u) => foot(u.place, chart, u)],
  });

  // Below the chart: each series with its value under the crosshair, or its last.
  const foot = (place, chart, u) => {
    const at = u && u.cursor.idx, shown = place.foot;
    if (!shown) return;
    const i = at === null || at === undefined ? chart.count - 1 : at;
    const near = at === null || at === undefined ? [] : marks.filter((m) => Math.abs(m.at - (chart.start + i * chart.step)) <= Math.max(chart.step, (chart.count * chart.step) / 100));
    shown.when.textContent = at === null || at === undefined ? "" : clock(chart.start + i * chart.step, true) + (near.length ? " · " + near.map((m) => m.text).join(" · ") : "");
    chart.series.forEach((s, n) => {
      if (!shown.values[n]) return;
      let v = s.v[i];
      if (at === null || at === undefined) for (let j = i; (v === null || v === undefined) && j >= Math.max(0, i - 3); j--) v = s.v[j];
      shown.values[n].textContent = figure(v, s.unit);
    });
  };
  const makeFoot = (place, chart, colours) => {
    const foot = document.createElement("div");
    foot.className = "chart-foot"; foot.tabIndex = 0;
    const when = document.createElement("span");
    const values = chart.series.slice(0, 12).map((s, n) => {
      const item = document.createElement("span"), dot = document.createElement("i"), value = document.createElement("b");
      dot.style.background = colours[n];
      item.append(dot, s.name + " ", value);
      foot.append(item);
      return value;
    });
    if (chart.series.length > 12) foot.append(`and ${chart.series.length - 12} more`);
    foot.append(when);
    return { foot, when, values };
  };

  const heat = (chart) => {
    // Buckets are cumulative and sorted by their upper bound; each cell is what is new in it.
    const rows = chart.series.map((s) => ({ le: s.le === "+Inf" || s.le === null ? Infinity : Number(s.le), v: s.v })).sort((a, b) => a.le - b.le);
    const cells = rows.map((row, r) => row.v.map((v, i) => (v === null ? null : r ? Math.max(0, v - (rows[r - 1].v[i] ?? 0)) : v)));
    const most = Math.max(1e-9, ...cells.map((c) => Math.max(...c.map((v) => v ?? 0))));
    return { rows, cells, most };
  };

  const options = (place, chart, colours, map) => {
    const dim = css("--dim"), grid = { stroke: css("--line"), width: 1 }, font = "11px system-ui, sans-serif";
    const names = map && map.rows.map((r) => (r.le === Infinity ? "more" : "≤ " + figure(r.le, "s")));
    const lines = chart.series.map((s, n) => ({
      label: s.name, stroke: colours[n], width: s.role === "value" ? 1.75 : 1.25,
      dash: s.role === "value" ? undefined : [5, 4], points: { show: false }, spanGaps: false,
      fill: chart.stacked && s.role === "value" ? colours[n] + "55" : undefined,
    }));
    return {
      width: Math.max(120, place.clientWidth), height: HEIGHT, series: [{}, ...(map ? [{ label: "", paths: () => null, points: { show: false } }] : lines)],
      cursor: { sync: { key: sync.key }, drag: { x: true, y: false, dist: 8 }, points: { size: 6 } },
      legend: { show: false }, hooks: hooks(chart), padding: [8, 8, 0, 0], tzDate: (s) => uPlot.tzDate(new Date(s * 1000), "Etc/UTC"),
      scales: {
        x: { min: chart.start, max: chart.start + chart.step * (chart.count - 1), range: (u, a, b) => [a, b] },
        y: { range: (u, low, high) => {
          if (map) return [0, map.rows.length || 1];
          const limits = chart.lines.map((l) => l.value).filter((v) => high === null || v <= Math.max(high * 2.5, 0) || chart.high !== null);
          const top = Math.max(high ?? 0, ...limits, 0), bottom = chart.low ?? Math.min(low ?? 0, 0);
          return [bottom, chart.high ?? (top > bottom ? bottom + (top - bottom) * 1.08 : bottom + 1)];
        } },
      },
      axes: [
        { stroke: dim, grid, ticks: { show: false }, font, size: 24, space: 64, values: (u, splits) => splits.map((s, n) => (chart.step * chart.count > 172000 ? `${two(new Date(s * 1000).getUTCDate())}.${two(new Date(s * 1000).getUTCMonth() + 1)}.` : clock(s))) },
        { stroke: dim, grid, ticks: { show: false }, font, size: 62, space: 34, splits: map ? () => map.rows.map((_, i) => i + 0.5).filter((_, i, all) => i % Math.ceil(all.length / 6) === 0) : undefined,
          values: (u, splits) => splits.map((v) => (map ? names[Math.floor(v)] ?? "" : figure(v, chart.unit))) },
      ],
    };
  };

  const stacked = (chart) => {
    const sums = new Array(chart.count).fill(0), rows = [];
    for (const s of chart.series) rows.push(s.role !== "value" ? s.v : s.v.map((v, i) => (v === null ? null : (sums[i] += v))));
    return rows;
  };
  const note = (place, text) => { const p = document.createElement("p"); p.className = "loading"; p.textContent = text; return p; };

  const draw = (place) => {
    const chart = place.data;
    place.plot?.destroy();
    place.textContent = ""; place.foot = null;
    if (!chart.series.length) { place.append(note(place, chart.error || "No data in this time.")); return; }
    const map = chart.kind === "heatmap" ? heat(chart) : null;
    const colours = chart.series.map((s, n) => (s.role === "limit" ? css("--fill-bad") : s.role === "before" ? css("--fill-muted") : css("--c" + (n % 8))));
    const times = Array.from({ length: chart.count }, (_, i) => chart.start + i * chart.step);
    const rows = map ? [times.map(() => 0)] : chart.stacked ? stacked(chart) : chart.series.map((s) => s.v);
    const opts = options(place, chart, colours, map);
    if (map) opts.hooks.drawClear = [(u) => {
      const ctx = u.ctx, width = Math.ceil(u.bbox.width / chart.count) + 1;
      ctx.save(); ctx.fillStyle = css("--fill-info");
      map.cells.forEach((row, r) => row.forEach((v, i) => {
        if (!v) return;
        const top = u.valToPos(r + 1, "y", true), bottom = u.valToPos(r, "y", true);
        ctx.globalAlpha = 0.12 + 0.88 * Math.sqrt(v / map.most);
        ctx.fillRect(u.valToPos(times[i], "x", true) - width / 2, top, width, bottom - top);
      }));
      ctx.restore();
    }];
    if (chart.stacked) opts.bands = chart.series.map((_, n) => n).filter((n) => n > 0 && chart.series[n].role === "value" && chart.series[n - 1].role === "value").map((n) => ({ series: [n + 1, n] }));
    const u = (place.plot = new uPlot(opts, [times, ...rows], place));
    u.place = place;
    if (!map) {
      place.foot = makeFoot(place, chart, colours);
      place.append(place.foot.foot);
      foot(place, chart, null);
    }
    const words = [];
    if (chart.error) words.push(chart.age_s === null ? chart.error : `As of ${Math.round(chart.age_s)} s ago: ${chart.error}`);
    if (chart.left_out > 0) words.push(`${chart.left_out} more series are not drawn.`);
    if (words.length && place.foot) { const p = document.createElement("span"); p.className = "warn"; p.textContent = words.join(" "); place.foot.foot.prepend(p); }
    u.over.addEventListener("dblclick", () => history.back());
  };
  const load = async (place) => {
    if (place.asking) return;
    place.asking = true;
    try {
      const answer = await fetch(place.dataset.chart, { headers: { "x-live": "1", accept: "application/json" } });
      const data = await answer.json();
      if (!answer.ok) throw new Error(data.error || answer.status);
      const key = JSON.stringify(data);
      if (key !== place.key) { place.key = key; place.data = data; draw(place); }
    } catch (error) {
      if (!place.data) { place.textContent = ""; place.append(note(place, String(error.message || error))); }
      else if (place.foot) place.foot.when.textContent = "No answer; these are the last values.";
    } finally {
      place.asking = false;
    }
  };
  const loadMarks = async () => {
    const here = new URLSearchParams(location.search), ask = new URLSearchParams();
    for (const name of ["range", "from", "to"]) if (here.get(name)) ask.set(name, here.get(name));
    if (!ask.has("range") && !ask.has("from")) ask.set("range", new URLSearchParams(places[0].dataset.chart.split("?")[1]).get("range") || "1h");
    const service = here.get("var-service") || (location.pathname.match(/^\/(?:services|slo)\/([^/]+)/) || [])[1];
    if (service && !service.startsWith("$")) ask.set("service", decodeURIComponent(service));
    try {
      const answer = await fetch("/api/marks?" + ask, { headers: { "x-live": "1" } });
      const found = (await answer.json()).marks || [];
      const changed = JSON.stringify(found) !== JSON.stringify(marks);
      marks = found;
      if (changed) for (const place of places) place.plot?.redraw(false);
    } catch (error) { /* marks are no reason to disturb */ }
  };
  const near = new IntersectionObserver((entries) => {
    for (const e of entries) { e.target.near = e.isIntersecting; if (e.isIntersecting) load(e.target); }
  }, { rootMargin: "300px" });
  for (const place of places) near.observe(place);
  loadMarks();
  document.addEventListener("fresh", () => { for (const place of places) if (place.near) load(place); loadMarks(); });
  document.addEventListener("theme", () => { for (const place of places) if (place.data) draw(place); });
  let timer = 0;
  addEventListener("resize", () => {
    clearTimeout(timer);
    timer = setTimeout(() => { for (const place of places) place.plot?.setSize({ width: Math.max(120, place.clientWidth), height: HEIGHT }); }, 80);
  });
})();
