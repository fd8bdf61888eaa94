// The page Now, kept up to date by server-sent events: what happens, and the open terminals.
"use strict";
(() => {
  const { Screen, Painter, apply, withoutTerminal } = globalThis.turncoatTerminal;
  const show = (name) => document.querySelector(`[data-show="${name}"]`);
  const feed = show("feed"), rate = show("rate"), noise = document.querySelector('[data-do="noise"]');
  const ROWS = 60, PENDING = 2000;
  let waiting = [], count = 0, since = performance.now(), lost = 0;

  const cell = (row, className, ...children) => {
    const td = row.insertCell();
    if (className) td.className = className;
    td.append(...children);
  };
  const link = (href, text, className) => Object.assign(document.createElement("a"), { href, textContent: text, className });
  const code = (text) => Object.assign(document.createElement("code"), { className: "his", textContent: text });

  function rowOf(e) {
    const row = document.createElement("tr");
    row.className = e.tone + " new";
    const time = Object.assign(document.createElement("time"), { dateTime: e.time, textContent: e.time.slice(11, 19), title: e.time });
    cell(row, "", time);
    cell(row, "", e.session ? link("/sessions/" + encodeURIComponent(e.session), e.session.slice(28), "id") : "");
    cell(row, "num", e.source || "");
    const what = Object.assign(document.createElement("span"), { className: "what " + e.tone, textContent: e.what });
    cell(row, "wide", what, ...(e.quoted ? [" ", code(e.quoted)] : []));
    return row;
  }

  const tones = new Set(["act", "inside", "alarm", "ours"]);
  let reload = null;
  // The head of the page is asked for again when something of weight happens, at most every second and a half.
  function refresh() {
    if (reload) return;
    reload = setTimeout(async () => {
      reload = null;
      const answer = await fetch("/api/v1/now").catch(() => null);
      if (!answer || !answer.ok) return;
      const head = await answer.json();
      const sentence = show("sentence");
      sentence.textContent = head.sentence;
      sentence.className = "sentence " + head.tone;
      document.querySelectorAll("[data-figure]").forEach((node) => {
        node.textContent = String(head[node.dataset.figure]).replace(/\B(?=(\d{3})+$)/g, "\u202f");
      });
    }, 1500);
  }

  function take(events) {
    count += events.length;
    for (const e of events) {
      if (!noise.checked && !tones.has(e.tone)) continue;
      waiting.push(e);
    }
    if (waiting.length > PENDING) waiting = waiting.slice(-ROWS);
    if (events.some((e) => e.tone === "inside" || e.tone === "alarm" || e.kind === "session.close" || e.kind === "session.open")) refresh();
    if (events.some((e) => e.kind === "auth.attempt" && e.tone === "inside")) arrivals(events);
  }

  // Who gets in while the page is open gets a terminal.
  function arrivals(events) {
    const box = document.querySelector(".terminals");
    for (const e of events) {
      if (e.kind !== "auth.attempt" || e.tone !== "inside" || !e.session) continue;
      if (box.children.length >= 6 || box.querySelector(`[data-session="${CSS.escape(e.session)}"]`)) continue;
      const article = Object.assign(document.createElement("article"), { className: "terminal" });
      article.dataset.session = e.session;
      const header = document.createElement("header");
      header.append(link("/sessions/" + encodeURIComponent(e.session), e.session.slice(28), "id"), " ", e.source || "");
      const screen = Object.assign(document.createElement("div"), { className: "screen small" });
      screen.dataset.show = "screen";
      article.append(header, screen);
      box.append(article);
      const empty = box.parentElement.querySelector(".empty");
      if (empty) empty.remove();
      terminal(article);
    }
  }

  function paint() {
    if (waiting.length) {
      const rows = waiting.slice(-ROWS).map(rowOf).reverse();
      waiting = [];
      feed.prepend(...rows);
      while (feed.rows.length > ROWS) feed.deleteRow(-1);
    }
    const now = performance.now();
    if (now - since > 2000) {
      const each = count / ((now - since) / 1000);
      rate.textContent = each >= 0.5 ? `${Math.round(each)} events/s` + (lost ? `, ${lost} pieces not shown` : "") : "";
      count = 0;
      since = now;
    }
    requestAnimationFrame(paint);
  }

  const source = new EventSource("/live/events");
  source.addEventListener("events", (m) => take(JSON.parse(m.data)));
  source.addEventListener("gap", (m) => { lost += Number(m.data) || 1; });
  source.onerror = () => document.body.classList.add("unconnected");
  source.onopen = () => document.body.classList.remove("unconnected");
  requestAnimationFrame(paint);
  globalThis.turncoatLive = { seen: () => count };

  function terminal(article) {
    const screen = new Screen(), painter = new Painter(article.querySelector('[data-show="screen"]'));
    let due = false, begun = false;
    const draw = () => { due = false; painter.draw(screen); };
    const live = new EventSource("/live/sessions/" + encodeURIComponent(article.dataset.session));
    live.addEventListener("frames", (m) => {
      const frames = JSON.parse(m.data);
      if (!begun) { begun = true; screen.raw = withoutTerminal(frames); }
      for (const frame of frames) apply(screen, frame);
      if (!due) { due = true; requestAnimationFrame(draw); }
    });
    live.addEventListener("end", () => { live.close(); article.classList.add("over"); });
    draw();
  }
  document.querySelectorAll("article.terminal").forEach(terminal);
})();
