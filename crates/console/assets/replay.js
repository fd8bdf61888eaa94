// The replay of a session: play, speed, jump to a command, search.
"use strict";
(() => {
  const { Screen, Painter, apply, bytesOf, withoutTerminal } = globalThis.turncoatTerminal;
  const root = document.getElementById("replay");
  if (!root) return;
  const act = (name) => root.querySelector(`[data-do="${name}"]`);
  const show = (name) => root.querySelector(`[data-show="${name}"]`);
  const box = show("screen"), clock = show("clock"), seek = act("seek"), found = show("found"), find = act("find");
  const commands = [...root.querySelectorAll(".command")];
  const session = root.dataset.session;
  const PAUSE = 2000, KEY_EVERY = 64 * 1024;
  let channel = Number(box.dataset.channel) || 0;
  let frames = [], keys = [], start = 0, total = 0;
  let at = 0, next = 0, playing = false, timer = null, speed = 1;
  let screen = new Screen(), painter = new Painter(box), live = null, hits = [], hit = -1;

  const time = (ms) => { const s = Math.max(0, Math.round(ms / 1000)); return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`; };
  const status = () => {
    clock.textContent = `${time(at)} / ${time(total)}`;
    seek.max = String(Math.max(1, Math.ceil(total)));
    seek.value = String(Math.round(at));
    act("play").textContent = playing ? "Pause" : "Play";
    let current = null;
    for (const c of commands) if (Number(c.dataset.at) - start <= at + 50) current = c;
    for (const c of commands) c.classList.toggle("current", c === current);
  };
  const draw = () => { painter.draw(screen); status(); };

  // From the nearest copy before, forward.
  function jump(ms) {
    at = Math.max(0, Math.min(total, ms));
    let key = { index: 0, screen: null };
    for (const k of keys) if (frames[k.index] && frames[k.index][0] - start <= at) key = k; else break;
    if (key.index > next || frames[next - 1] === undefined || frames[next - 1][0] - start > at) {
      screen = key.screen ? key.screen.copy() : new Screen();
      screen.raw = withoutTerminal(frames);
      next = key.index;
    }
    while (next < frames.length && frames[next][0] - start <= at) apply(screen, frames[next++]);
    draw();
  }

  function step() {
    timer = null;
    if (!playing) return;
    if (next >= frames.length) { playing = false; at = total; status(); return; }
    const due = frames[next][0] - start;
    let pause = Math.max(0, due - at);
    if (act("skip").checked) pause = Math.min(pause, PAUSE);
    const wait = pause / speed;
    timer = setTimeout(() => {
      at = due;
      // What falls into one picture is shown in one.
      const until = due + 16 * speed;
      while (next < frames.length && frames[next][0] - start <= until) { at = Math.max(at, frames[next][0] - start); apply(screen, frames[next++]); }
      draw();
      step();
    }, Math.min(wait, 60000));
  }
  function play(on) {
    playing = on;
    if (timer) { clearTimeout(timer); timer = null; }
    if (on && next >= frames.length && !live) jump(0);
    status();
    if (on) step();
  }

  async function load() {
    frames = []; keys = []; start = 0; total = 0; at = 0; next = 0; screen = new Screen(); painter = new Painter(box);
    let from = 0, bytes = 0;
    const along = new Screen();
    for (;;) {
      const answer = await fetch(`/api/v1/sessions/${encodeURIComponent(session)}/recording?channel=${channel}&from=${from}`).catch(() => null);
      if (!answer || !answer.ok) { found.textContent = "the recording cannot be read"; break; }
      const piece = await answer.json();
      for (const frame of piece.frames) {
        if (frame[1] === "i") continue;
        if (!frames.length) { start = frame[0]; along.raw = screen.raw = frame[1] !== "r"; }
        if (bytes >= KEY_EVERY) { keys.push({ index: frames.length, screen: along.copy() }); bytes = 0; }
        frames.push(frame);
        apply(along, frame);
        bytes += frame[2].length;
      }
      total = frames.length ? frames[frames.length - 1][0] - start : 0;
      status();
      if (piece.next === null || piece.next === undefined) break;
      from = piece.next;
      await new Promise((r) => setTimeout(r, 0));
    }
    if (root.dataset.live === "1") follow();
    else jump(Math.min(total, 1000));
    globalThis.turncoatReplay.ready = true;
  }

  // A session that goes on is shown as it is now, and kept so until somebody looks back.
  function follow() {
    jump(total);
    const last = () => (frames.length ? frames[frames.length - 1][0] : 0);
    live = new EventSource(`/live/sessions/${encodeURIComponent(session)}?channel=${channel}`);
    live.addEventListener("frames", (m) => {
      const known = last();
      const attached = next >= frames.length;
      for (const frame of JSON.parse(m.data)) {
        // The stream begins with what was there already.
        if (frame[0] <= known && frames.length) continue;
        if (!frames.length) { start = frame[0]; screen.raw = frame[1] !== "r"; }
        frames.push(frame);
      }
      total = frames.length ? last() - start : 0;
      if (attached) jump(total); else status();
    });
    live.addEventListener("end", () => { live.close(); live = null; root.dataset.live = ""; });
  }

  // Searching: in the text of the output, without what moves it.
  function search() {
    const wanted = find.value.trim().toLowerCase();
    hits = []; hit = -1;
    found.textContent = "";
    if (!wanted) return;
    const decoder = new TextDecoder();
    let text = "";
    const places = [];
    for (const frame of frames) {
      if (frame[1] !== "o") continue;
      places.push([text.length, frame[0] - start]);
      text += decoder.decode(bytesOf(frame[2]), { stream: true });
      if (text.length > 8 << 20) break;
    }
    // Sequences become as many blanks, so that places stay where they are.
    const plain = text.replace(/\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|.)/g, (m) => "\0".repeat(m.length)).toLowerCase();
    const squeezed = [], index = [];
    for (let i = 0; i < plain.length; i++) if (plain[i] !== "\0") { squeezed.push(plain[i]); index.push(i); }
    const flat = squeezed.join("");
    for (let i = flat.indexOf(wanted); i >= 0 && hits.length < 1000; i = flat.indexOf(wanted, i + 1)) {
      const end = index[i + wanted.length - 1];
      let lo = 0, hi = places.length - 1;
      while (lo < hi) { const mid = (lo + hi + 1) >> 1; if (places[mid][0] <= end) lo = mid; else hi = mid - 1; }
      hits.push(places[lo][1]);
    }
    found.textContent = hits.length ? `${hits.length} found` : "not found";
    if (hits.length) go(0);
  }
  function go(n) {
    if (!hits.length) return;
    hit = (n + hits.length) % hits.length;
    found.textContent = `${hit + 1} of ${hits.length}`;
    play(false);
    jump(hits[hit]);
  }
  function command(direction) {
    const times = commands.map((c) => Number(c.dataset.at) - start);
    const target = direction > 0 ? times.find((t) => t > at + 60) : times.filter((t) => t < at - 60).pop();
    if (target !== undefined) jump(target);
  }

  act("play").addEventListener("click", () => play(!playing));
  act("prev").addEventListener("click", () => command(-1));
  act("next").addEventListener("click", () => command(1));
  act("speed").addEventListener("change", (e) => { speed = Number(e.target.value) || 1; if (playing) play(true); });
  seek.addEventListener("input", () => { jump(Number(seek.value)); if (playing) play(true); });
  find.addEventListener("keydown", (e) => {
    if (e.key !== "Enter") return;
    e.preventDefault();
    if (find.dataset.last === find.value && hits.length) go(hit + (e.shiftKey ? -1 : 1));
    else { find.dataset.last = find.value; search(); }
  });
  const choice = act("channel");
  if (choice) choice.addEventListener("change", () => { if (live) { live.close(); live = null; } play(false); channel = Number(choice.value) || 0; load(); });
  for (const c of commands) c.addEventListener("click", () => { play(false); jump(Number(c.dataset.at) - start); });
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, select, textarea, button, dialog[open]")) return;
    const speeds = [...act("speed").options].map((o) => o.value);
    const faster = (n) => { const i = speeds.indexOf(act("speed").value) + n; if (speeds[i]) { act("speed").value = speeds[i]; act("speed").dispatchEvent(new Event("change")); } };
    const keysOf = {
      " ": () => play(!playing), ArrowLeft: () => jump(at - 5000), ArrowRight: () => jump(at + 5000), "[": () => command(-1), "]": () => command(1),
      "+": () => faster(1), "-": () => faster(-1), f: () => find.focus(),
    };
    if (keysOf[e.key]) { e.preventDefault(); keysOf[e.key](); }
  });
  globalThis.turncoatReplay = { ready: false, text: () => screen.text(), jump, frames: () => frames.length };
  load();
})();
