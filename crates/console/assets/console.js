// What every page has: keys, rows that open, how long ago a time is.
"use strict";
(() => {
  const places = ["/", "/campaigns", "/sessions", "/search", "/decoys"];
  const rows = () => [...document.querySelectorAll("tr[data-open]")];
  const open = (row) => { location.href = row.dataset.open; };

  document.addEventListener("click", (e) => {
    const row = e.target.closest("tr[data-open]");
    if (row && !e.target.closest("a, button, input, label, summary") && !String(getSelection())) open(row);
  });
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const row = e.target.closest && e.target.closest("tr[data-open]");
    if (e.key === "Enter" && row && e.target === row) { open(row); return; }
    if (e.target.closest && e.target.closest("input, select, textarea, dialog[open]")) { if (e.key === "Escape") e.target.blur(); return; }
    const all = rows();
    const at = row ? all.indexOf(row) : -1;
    if (e.key === "j" && all.length) { (all[at + 1] || all[all.length - 1]).focus(); e.preventDefault(); }
    else if (e.key === "k" && all.length) { (all[at - 1] || all[0]).focus(); e.preventDefault(); }
    else if (e.key === "/") { const box = document.querySelector('main input[type="search"]') || document.querySelector('input[type="search"]'); if (box) { box.focus(); e.preventDefault(); } }
    else if (e.key === "?") { const keys = document.getElementById("keys"); if (keys) keys.showModal(); }
    else if (/^[1-5]$/.test(e.key)) location.href = places[Number(e.key) - 1];
  });

  const ago = (ms) => {
    const s = Math.round(ms / 1000);
    if (s < 90) return `${s} s ago`;
    if (s < 5400) return `${Math.round(s / 60)} min ago`;
    if (s < 129600) return `${Math.round(s / 3600)} h ago`;
    return `${Math.round(s / 86400)} days ago`;
  };
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = Date.parse(time.dateTime);
    if (!Number.isNaN(at) && !time.title) time.title = `${ago(Date.now() - at)}; here ${new Date(at).toLocaleString()}`;
  }
})();
