// Opens the page in Chromium at an origin that the gateway knows, and at one that it does not; prints what came of the calls.
//   node run.mjs GATEWAY TOKEN SERIAL
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const [gateway, token, serial] = process.argv.slice(2);
const script = readFileSync(new URL("page.js", import.meta.url));
const server = createServer((request, response) => {
  const page = request.url === "/";
  response.setHeader("content-type", page ? "text/html" : "text/javascript");
  response.end(page ? '<!doctype html><title>test</title><script type="module" src="/page.js"></script>' : script);
});
await new Promise((done) => server.listen(0, "0.0.0.0", done));
const { port } = server.address();
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  // The gateway's certificate is its own.
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const lines = [];
  page.on("console", (line) => lines.push(line.text()));
  const told = { console: lines };
  for (const [name, host] of [["ours", "127.0.0.1"], ["foreign", "127.0.0.2"]]) {
    await page.goto(`http://${host}:${port}/`);
    await page.waitForFunction("window.run");
    told[name] = await page.evaluate(([g, t, s]) => window.run(g, t, s), [gateway, token, serial]);
  }
  console.log(JSON.stringify(told));
} finally {
  await browser.close();
  server.close();
}
