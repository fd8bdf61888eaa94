// A terminal for looking at: it takes the bytes of a recording and shows what a terminal would have shown.
//
// What an intruder wrote can move text and change colours inside this box, and nothing else. There are no links, no titles, no clipboard,
// no answers to questions, no pictures; text reaches the page as text nodes only. Everything is bounded: 400 columns, 200 rows.
"use strict";

const LIMITS = { columns: 400, rows: 200, parameters: 32, string: 4096 };

// Widths: 0 for marks that stand on the letter before, 2 for the wide letters of East Asia and pictures.
function width(code) {
  if (code < 0x300) return 1;
  if ((code <= 0x36f) || (code >= 0x200b && code <= 0x200f) || (code >= 0x20d0 && code <= 0x20ff) || (code >= 0xfe00 && code <= 0xfe0f) ||
      (code >= 0x202a && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) || code === 0xfeff) return 0;
  if ((code >= 0x1100 && code <= 0x115f) || (code >= 0x2e80 && code <= 0x303e) || (code >= 0x3041 && code <= 0xa4cf) ||
      (code >= 0xac00 && code <= 0xd7a3) || (code >= 0xf900 && code <= 0xfaff) || (code >= 0xfe30 && code <= 0xfe6f) ||
      (code >= 0xff00 && code <= 0xff60) || (code >= 0xffe0 && code <= 0xffe6) || (code >= 0x1f300 && code <= 0x1faff) ||
      (code >= 0x20000 && code <= 0x3fffd)) return 2;
  return 1;
}

// The drawing letters of the VT100 (charset 0), from ` to ~.
const DRAWING = "\u25c6\u2592\u2409\u240c\u240d\u240a\u00b0\u00b1\u2424\u240b\u2518\u2510\u250c\u2514\u253c\u23ba\u23bb\u2500\u23bc\u23bd\u251c\u2524\u2534\u252c\u2502\u2264\u2265\u03c0\u2260\u00a3\u00b7";

const PLAIN = Object.freeze({ fg: null, bg: null, bold: false, dim: false, italic: false, under: false, inverse: false, hidden: false, strike: false });

// A place on the screen. Places are never changed, only replaced: lines, copies and the screen before share them.
const EMPTY = Object.freeze({ ch: " ", style: PLAIN });

class Screen {
  constructor(columns = 80, rows = 24) {
    this.decoder = new TextDecoder("utf-8");
    // Without a terminal in the world a line end is a line end alone: here it leads back to the left edge, too.
    this.raw = false;
    this.resize(columns, rows, true);
  }

  resize(columns, rows, fresh) {
    // Nobody said how large it is: programs take it for 80x24 then.
    if ((columns | 0) <= 0) columns = 80;
    if ((rows | 0) <= 0) rows = 24;
    this.columns = Math.max(1, Math.min(LIMITS.columns, columns | 0));
    this.rows = Math.max(1, Math.min(LIMITS.rows, rows | 0));
    if (fresh) { this.reset(); return; }
    const fit = (lines) => {
      while (lines.length > this.rows) lines.shift();
      while (lines.length < this.rows) lines.push(this.blank());
      for (const line of lines) {
        while (line.length > this.columns) line.pop();
        while (line.length < this.columns) line.push(this.cell());
      }
    };
    const gone = Math.max(0, this.lines.length - this.rows);
    fit(this.lines);
    if (this.other) fit(this.other);
    this.y = Math.max(0, Math.min(this.rows - 1, this.y - gone));
    this.x = Math.min(this.x, this.columns - 1);
    this.top = 0;
    this.bottom = this.rows - 1;
  }

  reset() {
    this.style = PLAIN;
    this.lines = Array.from({ length: this.rows }, () => this.blank());
    this.other = null;
    this.x = 0;
    this.y = 0;
    this.wrap = false;
    this.top = 0;
    this.bottom = this.rows - 1;
    this.saved = { x: 0, y: 0, style: PLAIN, drawing: false };
    this.autowrap = true;
    this.origin = false;
    this.insert = false;
    this.cursor = true;
    this.sets = [false, false];
    this.set = 0;
    this.state = "text";
    this.held = "";
    this.tabs = new Set();
    for (let i = 8; i < LIMITS.columns; i += 8) this.tabs.add(i);
  }

  // Erased places keep the background.
  cell() { return !this.style || this.style.bg === null ? EMPTY : { ch: " ", style: { ...PLAIN, bg: this.style.bg } }; }
  blank() { return new Array(this.columns).fill(this.cell()); }

  // Bytes as they were recorded; a letter may be cut between two pieces.
  write(bytes) {
    const text = this.decoder.decode(bytes, { stream: true });
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit >= 0x20 && unit < 0x7f && this.state === "text" && !this.insert) this.plain(text[i], unit);
      else if (unit >= 0xd800 && unit < 0xdc00 && i + 1 < text.length) this.take(text[i] + text[++i]);
      else this.take(text[i]);
    }
  }

  take(ch) {
    const code = ch.codePointAt(0);
    switch (this.state) {
      case "text":
        if (code === 0x1b) { this.state = "escape"; this.held = ""; }
        else if (code < 0x20 || code === 0x7f) this.control(code);
        else if (code < 0x80 || code > 0x9f) this.print(ch, code);
        return;
      case "escape":
        this.escape(ch);
        return;
      case "charset0":
      case "charset1":
        this.sets[this.state === "charset1" ? 1 : 0] = ch === "0";
        this.state = "text";
        return;
      case "one":
        if (this.held === "#" && ch === "8") for (const line of this.lines) line.fill({ ch: "E", style: PLAIN });
        this.state = "text";
        return;
      case "csi":
        if (code >= 0x40 && code <= 0x7e) { this.state = "text"; this.csi(ch); }
        else if (code === 0x1b) { this.state = "escape"; this.held = ""; }
        else if (code < 0x20) this.control(code);
        else if (this.held.length < 128) this.held += ch;
        return;
      case "string":
        // Titles, clipboards, links, pictures: taken whole, and dropped.
        if (code === 0x07 || code === 0x9c || code === 0x18 || code === 0x1a) this.state = "text";
        else if (code === 0x1b) this.state = "stringend";
        return;
      case "stringend":
        if (ch === "\\") this.state = "text";
        else { this.state = "escape"; this.held = ""; this.escape(ch); }
        return;
    }
  }

  control(code) {
    switch (code) {
      case 0x08: if (this.x > 0) this.x--; this.wrap = false; break;
      case 0x09: {
        let x = this.x + 1;
        while (x < this.columns - 1 && !this.tabs.has(x)) x++;
        this.x = Math.min(x, this.columns - 1);
        break;
      }
      case 0x0a: case 0x0b: case 0x0c: if (this.raw) this.x = 0; this.index(); break;
      case 0x0d: this.x = 0; this.wrap = false; break;
      case 0x0e: this.set = 1; break;
      case 0x0f: this.set = 0; break;
    }
  }

  escape(ch) {
    this.state = "text";
    switch (ch) {
      case "[": this.state = "csi"; this.held = ""; break;
      case "]": case "P": case "X": case "^": case "_": this.state = "string"; break;
      case "(": this.state = "charset0"; break;
      case ")": this.state = "charset1"; break;
      case "*": case "+": case "#": case "%": case " ": this.state = "one"; this.held = ch; break;
      case "7": this.save(); break;
      case "8": this.restore(); break;
      case "D": this.index(); break;
      case "E": this.x = 0; this.index(); break;
      case "H": this.tabs.add(this.x); break;
      case "M": this.reverse(); break;
      case "c": this.reset(); break;
    }
  }

  save() { this.saved = { x: this.x, y: this.y, style: this.style, drawing: this.sets[0] }; }
  restore() {
    this.x = Math.min(this.saved.x, this.columns - 1);
    this.y = Math.min(this.saved.y, this.rows - 1);
    this.style = this.saved.style;
    this.sets[0] = this.saved.drawing;
    this.wrap = false;
  }

  // A letter of ASCII, which is most of what comes.
  plain(ch, code) {
    if (this.sets[this.set]) { this.print(ch, code); return; }
    if (this.wrap) { if (this.autowrap) { this.x = 0; this.index(); } this.wrap = false; }
    this.lines[this.y][this.x] = { ch, style: this.style };
    if (++this.x >= this.columns) { this.x = this.columns - 1; this.wrap = true; }
  }

  print(ch, code) {
    if (this.sets[this.set] && code >= 0x60 && code <= 0x7e) ch = DRAWING[code - 0x60] || ch;
    const wide = width(code);
    if (wide === 0) {
      // A mark joins the letter before, a few of them; those that turn the direction are dropped.
      const line = this.lines[this.y];
      const x = Math.max(0, this.wrap ? this.x : this.x - 1);
      const before = line[x];
      if (before && before.ch.length < 8 && !(code >= 0x200b && code <= 0x206f) && code !== 0xfeff) line[x] = { ch: before.ch + ch, style: before.style };
      return;
    }
    if (this.wrap && this.autowrap) { this.x = 0; this.index(); }
    this.wrap = false;
    if (wide === 2 && this.x === this.columns - 1 && this.columns > 1) { if (this.autowrap) { this.x = 0; this.index(); } else return; }
    const line = this.lines[this.y];
    if (this.insert) { for (let i = 0; i < wide; i++) { line.splice(this.x, 0, this.cell()); line.pop(); } }
    line[this.x] = { ch, style: this.style };
    if (wide === 2 && this.x + 1 < this.columns) line[this.x + 1] = { ch: "", style: this.style };
    this.x += wide;
    if (this.x >= this.columns) { this.x = this.columns - 1; this.wrap = true; }
  }

  index() {
    this.wrap = false;
    if (this.y === this.bottom) this.scroll(1);
    else if (this.y < this.rows - 1) this.y++;
  }
  reverse() {
    this.wrap = false;
    if (this.y === this.top) this.scroll(-1);
    else if (this.y > 0) this.y--;
  }
  scroll(n) {
    const count = Math.min(Math.abs(n), this.bottom - this.top + 1);
    for (let i = 0; i < count; i++) {
      if (n > 0) { this.lines.splice(this.top, 1); this.lines.splice(this.bottom, 0, this.blank()); }
      else { this.lines.splice(this.bottom, 1); this.lines.splice(this.top, 0, this.blank()); }
    }
  }

  erase(y, from, to) {
    const line = this.lines[y];
    if (line) for (let x = Math.max(0, from); x < Math.min(to, this.columns); x++) line[x] = this.cell();
  }

  csi(last) {
    const text = this.held;
    const mark = /^[<=>?]/.test(text) ? text[0] : "";
    if (/[\x20-\x2f]/.test(text)) return;
    const parts = (mark ? text.slice(1) : text).split(/[;:]/, LIMITS.parameters).map((p) => (p === "" ? null : Math.min(9999, parseInt(p, 10) || 0)));
    const n = (i, otherwise = 1) => (parts[i] === null || parts[i] === undefined || parts[i] === 0 ? otherwise : parts[i]);
    if (mark) {
      if (mark === "?" && (last === "h" || last === "l")) parts.forEach((p) => this.mode(p, last === "h"));
      return;
    }
    const { top, bottom } = this.origin ? this : { top: 0, bottom: this.rows - 1 };
    this.wrap = last === "m" ? this.wrap : false;
    switch (last) {
      case "A": this.y = Math.max(this.y >= this.top ? this.top : 0, this.y - n(0)); break;
      case "B": case "e": this.y = Math.min(this.y <= this.bottom ? this.bottom : this.rows - 1, this.y + n(0)); break;
      case "C": case "a": this.x = Math.min(this.columns - 1, this.x + n(0)); break;
      case "D": this.x = Math.max(0, this.x - n(0)); break;
      case "E": this.x = 0; this.y = Math.min(this.rows - 1, this.y + n(0)); break;
      case "F": this.x = 0; this.y = Math.max(0, this.y - n(0)); break;
      case "G": case "`": this.x = Math.min(this.columns - 1, n(0) - 1); break;
      case "d": this.y = Math.min(bottom, top + n(0) - 1); break;
      case "H": case "f":
        this.y = Math.min(bottom, top + n(0) - 1);
        this.x = Math.min(this.columns - 1, n(1) - 1);
        break;
      case "J": {
        const what = n(0, 0);
        if (what === 0) { this.erase(this.y, this.x, this.columns); for (let y = this.y + 1; y < this.rows; y++) this.erase(y, 0, this.columns); }
        else if (what === 1) { this.erase(this.y, 0, this.x + 1); for (let y = 0; y < this.y; y++) this.erase(y, 0, this.columns); }
        else for (let y = 0; y < this.rows; y++) this.erase(y, 0, this.columns);
        break;
      }
      case "K": {
        const what = n(0, 0);
        if (what === 0) this.erase(this.y, this.x, this.columns);
        else if (what === 1) this.erase(this.y, 0, this.x + 1);
        else this.erase(this.y, 0, this.columns);
        break;
      }
      case "L": case "M":
        if (this.y >= this.top && this.y <= this.bottom) {
          for (let i = Math.min(n(0), this.bottom - this.y + 1); i > 0; i--) {
            if (last === "L") { this.lines.splice(this.bottom, 1); this.lines.splice(this.y, 0, this.blank()); }
            else { this.lines.splice(this.y, 1); this.lines.splice(this.bottom, 0, this.blank()); }
          }
        }
        break;
      case "P": { const line = this.lines[this.y]; for (let i = Math.min(n(0), this.columns - this.x); i > 0; i--) { line.splice(this.x, 1); line.push(this.cell()); } break; }
      case "@": { const line = this.lines[this.y]; for (let i = Math.min(n(0), this.columns - this.x); i > 0; i--) { line.splice(this.x, 0, this.cell()); line.pop(); } break; }
      case "X": this.erase(this.y, this.x, this.x + n(0)); break;
      case "S": this.scroll(n(0)); break;
      case "T": this.scroll(-n(0)); break;
      case "b": { const line = this.lines[this.y]; const before = line[Math.max(0, this.x - 1)]; if (before && before.ch) for (let i = Math.min(n(0), this.columns); i > 0; i--) this.print(before.ch[0], before.ch.codePointAt(0)); break; }
      case "g": if (n(0, 0) === 3) this.tabs.clear(); else this.tabs.delete(this.x); break;
      case "h": case "l": if (parts.includes(4)) this.insert = last === "h"; break;
      case "m": this.colours(parts); break;
      case "r": {
        const a = n(0) - 1, b = Math.min(this.rows, n(1, this.rows)) - 1;
        if (a < b) { this.top = a; this.bottom = b; this.x = 0; this.y = this.origin ? a : 0; }
        break;
      }
      case "s": this.save(); break;
      case "u": this.restore(); break;
    }
  }

  mode(p, on) {
    switch (p) {
      case 6: this.origin = on; this.x = 0; this.y = on ? this.top : 0; break;
      case 7: this.autowrap = on; break;
      case 25: this.cursor = on; break;
      case 47: case 1047: case 1049:
        if (on && !this.other) { if (p === 1049) this.save(); this.other = this.lines; this.lines = Array.from({ length: this.rows }, () => this.blank()); }
        else if (!on && this.other) { this.lines = this.other; this.other = null; if (p === 1049) this.restore(); }
        break;
    }
  }

  colours(parts) {
    let style = { ...this.style };
    for (let i = 0; i < parts.length; i++) {
      const p = parts[i] ?? 0;
      if (p === 0) style = { ...PLAIN };
      else if (p === 1) style.bold = true;
      else if (p === 2) style.dim = true;
      else if (p === 3) style.italic = true;
      else if (p === 4) style.under = true;
      else if (p === 7) style.inverse = true;
      else if (p === 8) style.hidden = true;
      else if (p === 9) style.strike = true;
      else if (p === 22) style.bold = style.dim = false;
      else if (p === 23) style.italic = false;
      else if (p === 24) style.under = false;
      else if (p === 27) style.inverse = false;
      else if (p === 28) style.hidden = false;
      else if (p === 29) style.strike = false;
      else if (p >= 30 && p <= 37) style.fg = p - 30;
      else if (p >= 40 && p <= 47) style.bg = p - 40;
      else if (p >= 90 && p <= 97) style.fg = p - 82;
      else if (p >= 100 && p <= 107) style.bg = p - 92;
      else if (p === 39) style.fg = null;
      else if (p === 49) style.bg = null;
      else if (p === 38 || p === 48) {
        const key = p === 38 ? "fg" : "bg";
        if (parts[i + 1] === 5) { style[key] = Math.min(255, parts[i + 2] ?? 0); i += 2; }
        else if (parts[i + 1] === 2) { style[key] = "#" + [2, 3, 4].map((k) => Math.min(255, parts[i + k] ?? 0).toString(16).padStart(2, "0")).join(""); i += 4; }
      }
    }
    this.style = Object.keys(PLAIN).every((k) => style[k] === PLAIN[k]) ? PLAIN : style;
  }

  // A copy from which it can go on, for jumping about.
  copy() {
    const to = Object.create(Screen.prototype);
    const lines = (all) => all && all.map((line) => line.slice());
    Object.assign(to, this, { lines: lines(this.lines), other: lines(this.other), sets: [...this.sets], tabs: new Set(this.tabs), decoder: new TextDecoder("utf-8") });
    return to;
  }

  text() { return this.lines.map((line) => line.map((c) => c.ch).join("").trimEnd()).join("\n"); }
}

// One of the 256 colours that are numbers.
function colour(n) {
  if (typeof n === "string") return n;
  if (n >= 232) { const v = 8 + (n - 232) * 10; return `rgb(${v},${v},${v})`; }
  const step = (v) => (v === 0 ? 0 : 55 + v * 40);
  n -= 16;
  return `rgb(${step(Math.floor(n / 36))},${step(Math.floor(n / 6) % 6)},${step(n % 6)})`;
}

// Draws a screen into a box. Only lines that changed are made anew; text is text.
class Painter {
  constructor(box) {
    this.box = box;
    this.shown = [];
    box.replaceChildren();
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", "terminal");
  }

  draw(screen) {
    while (this.shown.length > screen.rows) { this.shown.pop(); this.box.lastChild.remove(); }
    while (this.shown.length < screen.rows) { this.shown.push(null); const div = document.createElement("div"); div.className = "line"; this.box.append(div); }
    this.box.style.setProperty("--columns", String(screen.columns));
    for (let y = 0; y < screen.rows; y++) {
      const runs = this.runs(screen, y);
      const key = JSON.stringify(runs);
      if (key === this.shown[y]) continue;
      this.shown[y] = key;
      this.box.children[y].replaceChildren(...runs.map((run) => this.span(run)));
    }
  }

  runs(screen, y) {
    const runs = [];
    const line = screen.lines[y];
    let last = line.length;
    const here = (x) => screen.cursor && screen.y === y && screen.x === x;
    while (last > 0 && line[last - 1].ch === " " && line[last - 1].style === PLAIN && !here(last - 1)) last--;
    for (let x = 0; x < last; x++) {
      const { ch, style } = line[x];
      const at = here(x);
      const before = runs[runs.length - 1];
      if (before && before.style === style && !before.at && !at) before.text += ch;
      else runs.push({ text: ch, style, at });
    }
    return runs;
  }

  span({ text, style, at }) {
    if (style === PLAIN && !at) return document.createTextNode(text);
    const span = document.createElement("span");
    span.textContent = text;
    let { fg, bg } = style;
    const classes = [];
    if (style.inverse) classes.push("inverse");
    if (style.bold) { classes.push("bold"); if (typeof fg === "number" && fg < 8) fg += 8; }
    for (const name of ["dim", "italic", "under", "hidden", "strike"]) if (style[name]) classes.push(name);
    if (at) classes.push("cursor");
    if (fg !== null) { if (typeof fg === "number" && fg < 16) classes.push(`f${fg}`); else span.style.setProperty("--fg", colour(fg)), classes.push("fx"); }
    if (bg !== null) { if (typeof bg === "number" && bg < 16) classes.push(`b${bg}`); else span.style.setProperty("--bg", colour(bg)), classes.push("bx"); }
    span.className = classes.join(" ");
    return span;
  }
}

// Base64 to bytes.
function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

// COLUMNSxROWS from a frame.
function windowOf(bytes) {
  const match = /^(\d{1,4})x(\d{1,4})$/.exec(new TextDecoder().decode(bytes));
  return match && [Number(match[1]), Number(match[2])];
}

// A channel with a terminal begins with the size of its window.
function withoutTerminal(frames) { return frames.length > 0 && frames[0][1] !== "r"; }

// Does what a frame says.
function apply(screen, [, code, data]) {
  const bytes = bytesOf(data);
  if (code === "o") screen.write(bytes);
  else if (code === "r") { const size = windowOf(bytes); if (size) screen.resize(size[0], size[1], false); }
}

globalThis.turncoatTerminal = { Screen, Painter, apply, bytesOf, withoutTerminal };
