// Walks every page in a real browser: nothing of an intruder runs, styles, links or leaves, and the pages work by keyboard.
// Usage: node walk.mjs PLAN.json; the plan says where everything is. Prints one JSON object.
import { createRequire } from "node:module";
import { readFileSync, mkdirSync } from "node:fs";

const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { chromium } = createRequire(plan.playwright + "/package.json")("playwright-core");
mkdirSync(plan.shots, { recursive: true });

const problems = [];
const say = (page, what) => problems.push(`${page}: ${what}`);
const browser = await chromium.launch({ executablePath: plan.chromium, args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"] });

async function context(options) {
  const made = await browser.newContext(options);
  await made.addInitScript(() => {
    globalThis.__violations = [];
    document.addEventListener("securitypolicyviolation", (e) => globalThis.__violations.push(`${e.effectiveDirective} ${e.blockedURI} ${e.sample}`));
  });
  await made.route("**/*", (route) => {
    const url = new URL(route.request().url());
    if (url.host !== new URL(plan.base).host && url.protocol !== "data:") {
      say(route.request().frame().url(), `asked for ${url}`);
      return route.abort();
    }
    return route.continue();
  });
  return made;
}

function watch(page) {
  page.on("dialog", (d) => { say(page.url(), `a dialog: ${d.message()}`); d.dismiss(); });
  page.on("pageerror", (e) => say(page.url(), `a script failed: ${e}`));
  page.on("console", (m) => { if (m.type() === "error" && !/Failed to load resource/.test(m.text())) say(page.url(), `console: ${m.text()}`); });
  page.on("framenavigated", (f) => { if (f !== page.mainFrame() || !f.url().startsWith(plan.base)) say(page.url(), `went to ${f.url()}`); });
  page.on("popup", () => say(page.url(), "opened a window"));
}

// What may stand on a page: nothing that acts but our own.
async function inspect(page, path) {
  const found = await page.evaluate(() => {
    const wrong = [];
    for (const node of document.querySelectorAll("*")) {
      for (const a of node.attributes) if (/^on/i.test(a.name) || a.name === "style" && !node.closest(".screen")) wrong.push(`${node.tagName} has ${a.name}`);
      if (["IFRAME", "OBJECT", "EMBED", "BASE", "STYLE", "MATH"].includes(node.tagName)) wrong.push(`there is a ${node.tagName}`);
      if (node.tagName === "SCRIPT" && !new URL(node.src, location).href.startsWith(location.origin + "/assets/")) wrong.push("a script not ours");
      const href = node.getAttribute && (node.getAttribute("href") || node.getAttribute("action") || node.getAttribute("src"));
      if (href && new URL(href, location).origin !== location.origin) wrong.push(`${node.tagName} leads to ${href}`);
      if (node.tagName === "A" && node.closest(".his, .screen")) wrong.push("a link inside his words");
      if (node.tagName === "IMG" && node.getAttribute("src") !== "/assets/icon.svg") wrong.push("a picture not ours");
    }
    for (const box of document.querySelectorAll(".screen")) {
      for (const node of box.querySelectorAll("*")) if (!["DIV", "SPAN"].includes(node.tagName)) wrong.push(`a terminal holds ${node.tagName}`);
    }
    return wrong.concat(globalThis.__violations.map((v) => `policy violated: ${v}`));
  });
  for (const wrong of found) say(path, wrong);
}

async function enter(page) {
  await page.goto(plan.base + plan.links.shift());
  await page.getByRole("button", { name: "Come in" }).click();
  await page.waitForURL(plan.base + "/");
}

// Every page, with everything opened that can be.
const ctx = await context({ viewport: { width: 1280, height: 900 } });
const page = await ctx.newPage();
watch(page);
await enter(page);
let seen = 0;
for (const path of plan.pages) {
  const answer = await page.goto(plan.base + path, { waitUntil: "load" });
  if (!answer.ok() && !plan.refused.includes(path)) say(path, `answered ${answer.status()}`);
  await page.waitForTimeout(path === "/" ? 1200 : 40);
  await page.evaluate(() => document.querySelectorAll("details").forEach((d) => (d.open = true)));
  await inspect(page, path);
  seen++;
}

// A replay: to its end, by command, by search.
if (plan.replay) {
  await page.goto(plan.base + plan.replay);
  await page.waitForFunction(() => globalThis.turncoatReplay && globalThis.turncoatReplay.ready);
  await page.evaluate(() => globalThis.turncoatReplay.jump(1e9));
  const text = await page.evaluate(() => globalThis.turncoatReplay.text());
  if (!text.includes("needle")) say(plan.replay, `the end of the replay lacks what was shown: ${text}`);
  await inspect(page, plan.replay);
  await page.keyboard.press("f");
  await page.keyboard.type("needle");
  await page.keyboard.press("Enter");
  const hits = await page.locator('[data-show="found"]').textContent();
  if (!/1 of 1/.test(hits)) say(plan.replay, `search in the replay said ${hits}`);
  await page.keyboard.press("Escape");
  const clock = () => page.locator('[data-show="clock"]').textContent();
  await page.evaluate(() => globalThis.turncoatReplay.jump(0));
  const before = await clock();
  await page.keyboard.press("ArrowRight");
  if ((await clock()) === before) say(plan.replay, "the arrow key does not move the replay");
  await page.evaluate(() => globalThis.turncoatReplay.jump(0));
  await page.keyboard.press("Space");
  await page.waitForTimeout(400);
  if ((await page.locator('[data-do="play"]').textContent()) !== "Pause") say(plan.replay, "the space bar does not play");
  await page.keyboard.press("Space");
}

// By keyboard alone.
await page.goto(plan.base + "/sessions");
await page.keyboard.press("j");
await page.keyboard.press("j");
await page.keyboard.press("k");
const wanted = await page.evaluate(() => document.activeElement.dataset.open);
if (!wanted) say("/sessions", "j and k do not reach a row");
await page.keyboard.press("Enter");
await page.waitForURL((u) => u.pathname === wanted).catch(() => say("/sessions", "Enter does not open the row"));
await page.keyboard.press("2");
await page.waitForURL(plan.base + "/campaigns").catch(() => say("/campaigns", "the key 2 does not lead there"));
await page.keyboard.press("/");
if (!(await page.evaluate(() => document.activeElement.type === "search"))) say("/campaigns", "the key / does not reach the search");
await page.keyboard.type("needle");
await page.keyboard.press("Enter");
await page.waitForURL((u) => u.pathname === "/search").catch(() => say("/campaigns", "Enter does not search"));
await page.goto(plan.base + "/campaigns");
await page.keyboard.press("Tab");
if (!(await page.evaluate(() => document.activeElement.classList.contains("skip")))) say("/campaigns", "the first stop is not the way past the head");
const stops = await page.evaluate(() => [...document.querySelectorAll("a, button, input, select, summary")].filter((n) => n.tabIndex < 0).length);
if (stops) say("/campaigns", `${stops} things cannot be reached by keyboard`);

// Live: what is recorded while the page is open appears on it, and a terminal shows what is typed.
await page.goto(plan.base + "/");
await page.waitForTimeout(300);
console.log(JSON.stringify({ ready: true }));
await page.waitForFunction((text) => document.querySelector('[data-show="feed"]').textContent.includes(text), plan.live, { timeout: 20000 })
  .catch(() => say("/", "what happens does not appear while the page is open"));
await page.waitForFunction((text) => [...document.querySelectorAll(".terminal .screen")].some((s) => s.textContent.includes(text)), plan.live, { timeout: 20000 })
  .catch(() => say("/", "the open terminal does not show what is typed"));
await inspect(page, "/");

// Pictures: light, dark, on a phone. On a phone nothing is wider than the screen.
const looks = { light: { colorScheme: "light", viewport: { width: 1280, height: 900 } }, dark: { colorScheme: "dark", viewport: { width: 1280, height: 900 } },
  phone: { colorScheme: "light", viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true } };
const state = await ctx.storageState();
for (const [look, options] of Object.entries(looks)) {
  const other = await context({ ...options, storageState: state });
  const shown = await other.newPage();
  watch(shown);
  for (const [name, path] of Object.entries(plan.pictures)) {
    await shown.goto(plan.base + path);
    await shown.waitForTimeout(name === "now" || name === "session" ? 900 : 100);
    await shown.screenshot({ path: `${plan.shots}/${name}-${look}.png`, fullPage: name !== "session" && look !== "phone" });
    if (look === "phone") {
      const wide = await shown.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wide > 1) say(path, `wider than a phone by ${wide} pixels`);
    }
  }
  await other.close();
}
await browser.close();
console.log(JSON.stringify({ pages: seen, problems }));
