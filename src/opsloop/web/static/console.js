// Keeps a page up to date without losing what a person is doing on it; keys; the theme.
"use strict";
(() => {
  const body = document.body, live = document.getElementById("live");
  const skew = Number(body.dataset.now) * 1000 - Date.now(); // of the browser's clock
  const every = Number(body.dataset.refresh || 10) * 1000;
  let held = false, busy = false, again = false, last = 0;

  const say = (state, text) => { live.className = "live " + state; live.lastChild.textContent = text; };

  // Each second: how long ago.
  const length = (s) => {
    s = Math.max(0, s);
    if (s < 120) return (s < 10 ? s.toFixed(1) : Math.round(s)) + " s";
    const m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
    if (m < 60) return m + " min";
    if (h < 48) return h + " h" + (m % 60 ? " " + (m % 60) + " min" : "");
    return d + " d" + (h % 24 ? " " + (h % 24) + " h" : "");
  };
  setInterval(() => {
    const now = (Date.now() + skew) / 1000;
    for (const e of document.querySelectorAll("[data-age]")) {
      const text = length(now - Number(e.dataset.age));
      if (e.textContent !== text) e.textContent = text;
    }
  }, 1000);

  // A part in which somebody types or has opened a form is left alone until it is done.
  const inUse = (part) => {
    const at = document.activeElement;
    const typing = at && part.contains(at) && at.matches("input, textarea, select");
    return typing || part.querySelector("details.menu[open]") ||
      [...part.querySelectorAll("input:not([type=hidden]), textarea")].some((e) => e.value !== e.defaultValue);
  };
  const renew = (part, fresh) => {
    part.className = fresh.className;
    if (part.innerHTML === fresh.innerHTML || inUse(part)) return;
    const open = [...part.querySelectorAll("details[open][id]")].map((d) => d.id);
    const at = document.activeElement, inside = at && part.contains(at);
    const path = inside ? [...part.querySelectorAll("a, button, summary")].indexOf(at) : -1;
    part.innerHTML = fresh.innerHTML;
    for (const id of open) { const d = document.getElementById(id); if (d) d.open = true; }
    if (path >= 0) part.querySelectorAll("a, button, summary")[path]?.focus({ preventScroll: true });
  };
  const refresh = async () => {
    if (held || document.hidden) { again = true; return; }
    if (busy) { again = true; return; }
    busy = true; again = false; last = Date.now();
    try {
      const answer = await fetch(location.href.replace(/([?&])said=[^&#]*/, "$1"), { headers: { "x-live": "1", accept: "text/html" } });
      if (answer.status === 401) { say("off", "signed out"); held = true; return; }
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live][id]")) {
        const fresh = page.getElementById(part.id);
        if (fresh) renew(part, fresh);
      }
      say("on", "live");
      document.dispatchEvent(new Event("fresh"));
    } catch (error) {
      say("off", "no answer");
    } finally {
      busy = false;
      if (again) setTimeout(refresh, 300);
    }
  };
  if (document.querySelector("[data-live]") && every > 0) {
    const source = new EventSource("/events");
    source.addEventListener("hello", () => { if (!held) say("on", "live"); });
    source.addEventListener("change", refresh);
    source.onerror = () => { if (!held) say("off", "no answer"); };
    setInterval(() => { if (Date.now() - last >= every) refresh(); }, 1000);
    last = Date.now();
    document.addEventListener("visibilitychange", () => { if (!document.hidden && again) refresh(); });
    addEventListener("pagehide", () => source.close());
  } else say("", every > 0 ? "" : "fixed time");

  const hold = () => {
    held = !held;
    say(held ? "" : "on", held ? "held" : "live");
    if (!held) refresh();
  };
  const theme = () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch (refused) { /* not kept */ }
    document.dispatchEvent(new Event("theme"));
  };
  const help = document.getElementById("help");

  document.addEventListener("click", async (event) => {
    const at = event.target;
    if (at.closest("[data-theme-toggle]")) theme();
    if (at.closest("[data-help]")) help.showModal();
    const copy = at.closest("[data-copy]");
    if (copy) {
      try { await navigator.clipboard.writeText(copy.dataset.copy); copy.textContent = "Copied"; } catch (refused) { copy.textContent = "Select it below"; }
    }
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(at)) menu.open = false;
  });
  // A form is sent once.
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    if (event.target.dataset.sent) { event.preventDefault(); return; }
    event.target.dataset.sent = "1";
    setTimeout(() => delete event.target.dataset.sent, 5000);
  });
  for (const form of document.querySelectorAll("[data-timebar]")) form.addEventListener("change", () => form.requestSubmit());

  let before = "", beforeAt = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      for (const menu of document.querySelectorAll("details.menu[open]")) { menu.open = false; menu.firstElementChild.focus(); }
      return;
    }
    if (event.target.matches("input, textarea, select") || help.open) return;
    const key = event.key, first = Date.now() - beforeAt < 1500 ? before : "";
    before = key; beforeAt = Date.now();
    if (first === "g") {
      const link = document.querySelector(`nav a[data-key="${CSS.escape(key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
    } else if (key === "?") { event.preventDefault(); help.showModal(); }
    else if (key === "/") { const find = document.querySelector("[data-find]"); if (find) { event.preventDefault(); find.focus(); } }
    else if (key === "t") document.querySelector(".timebar a, .timebar select")?.focus();
    else if (key === "p") hold();
    else if (key === "d" && first === "d") { theme(); before = ""; }
  });
})();
