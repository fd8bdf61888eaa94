// The part of the closing walk that a person does in a browser. Usage: node walk.mjs PLAN.json; prints one JSON object: the text of each page
// by its name, what each replay shows at its end, and what went wrong.
import { createRequire } from "node:module";
import { readFileSync, mkdirSync } from "node:fs";

const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { chromium } = createRequire(plan.playwright + "/package.json")("playwright-core");
mkdirSync(plan.shots, { recursive: true });
const browser = await chromium.launch({ executablePath: plan.chromium, args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"] });
const page = await (await browser.newContext({ viewport: { width: 1280, height: 900 } })).newPage();
const problems = [];
page.on("pageerror", (e) => problems.push(`${page.url()}: ${e}`));
page.on("console", (m) => { if (m.type() === "error") problems.push(`${page.url()}: ${m.text()}`); });
const base = new URL(plan.link).origin;
const shot = (name) => page.screenshot({ path: `${plan.shots}/${name}.png`, fullPage: true });

await page.goto(plan.link);
await page.getByRole("button", { name: "Come in" }).click();
await page.waitForURL(base + "/");

const pages = {};
for (const [name, path] of Object.entries(plan.pages)) {
  await page.goto(base + path, { waitUntil: "load" });
  await page.waitForTimeout(300);
  await page.evaluate(() => document.querySelectorAll("details").forEach((d) => (d.open = true)));
  pages[name] = await page.evaluate(() => document.body.innerText);
  await shot(name);
}

// From the campaign to its sessions as a person goes there, and each replayed to its end.
const replays = [];
for (const [n, session] of plan.sessions.entries()) {
  await page.goto(base + plan.pages.campaign);
  await page.locator(`tr[data-open="/sessions/${session}"] a`).first().click();
  await page.waitForFunction(() => globalThis.turncoatReplay && globalThis.turncoatReplay.ready);
  await page.evaluate(() => globalThis.turncoatReplay.jump(0));
  await page.locator('[data-do="play"]').click();
  await page.waitForTimeout(300);
  // A shell clears its screen when it is left: what stood there before is looked at, a quarter of a second after the other.
  const seen = await page.evaluate(() => {
    const replay = globalThis.turncoatReplay;
    const texts = [];
    let last = 0;
    for (let at = 0; at <= 30000; at += 250) {
      replay.jump(at);
      if (replay.text().trim()) [last] = [at, texts.push(replay.text())];
    }
    replay.jump(last);
    return texts.join("\n");
  });
  replays.push(seen);
  await shot(`replay-${n + 1}`);
}

// By hand: the button on the campaign's page, and what it says.
await page.goto(base + plan.pages.campaign);
await page.getByLabel("Close the protected side").selectOption("7d");
await page.getByRole("button", { name: "Block" }).click();
await page.waitForLoadState("load");
const said = await page.locator('[role="status"]').textContent();
await shot("blocked");
await browser.close();
console.log(JSON.stringify({ pages, replays, said, problems }));
