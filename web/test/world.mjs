// The world of a test: the real services on a fresh database, the built page on loopback, Debian's Chromium.
// With WARRANTY_ENVOY, the path of an Envoy, the gateway stands in front, and serves the page.
import { execFileSync, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { build, serve } from '../build.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const binary = process.env.WARRANTY_BIN ?? join(root, 'target/debug/warranty');
const envoy = process.env.WARRANTY_ENVOY;
export const shots = join(root, 'target/web', envoy ? 'gateway' : '');

const free = (port) => new Promise((resolve) => {
  const probe = createServer().once('error', () => resolve(false)).once('listening', () => probe.close(() => resolve(true)));
  probe.listen(port, '127.0.0.1');
});
/** The first of twelve free ports in a row. */
async function ports() {
  for (let base = 20000 + (process.pid % 2000) * 12; ; base += 12) {
    const found = await Promise.all(Array.from({ length: 12 }, (_, i) => free(base + i)));
    if (found.every(Boolean)) return base;
  }
}

export async function world() {
  const base = await ports();
  const [coverage, claim, logistics] = [1, 2, 3].map((i) => `http://127.0.0.1:${base + i}`);
  const out = join(root, 'target/web/dist');
  const page = envoy ? undefined : await serve(out);
  const origin = envoy ? `https://127.0.0.1:${base + 9}` : `http://127.0.0.1:${page.address().port}`;
  const front = envoy ? ['--gateway', envoy, '--page', out] : [];
  const data = join(tmpdir(), `warranty-web-${process.pid}`);
  const services = spawn(binary, ['up', '--port', String(base), ...front], {
    env: { ...process.env, WARRANTY_DATA: data, WARRANTY_ALLOWED_ORIGINS: origin }, stdio: ['ignore', 'pipe', 'inherit'],
  });
  let told = '';
  await new Promise((resolve, reject) => {
    services.once('exit', (code) => reject(new Error(`warranty up ended with ${code}`)));
    services.stdout.on('data', (text) => { told += text; if (/warranty walk/.test(told)) resolve(); });
  });
  await build({ api: envoy ? '' : [coverage, claim, logistics].join(','), out });
  await mkdir(shots, { recursive: true });
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-quic'] });
  const token = async (as) => (await (await fetch(`http://127.0.0.1:${base}/token?as=${as}`)).json()).access_token;
  const env = {
    ...process.env, WARRANTY_ISSUER_URL: `http://127.0.0.1:${base}`, WARRANTY_COVERAGE_ADDRESS: coverage,
    WARRANTY_CLAIM_ADDRESS: claim, WARRANTY_LOGISTICS_ADDRESS: logistics,
  };
  return {
    origin,
    /** The customer's own unit of the sample data, sold three days ago. */
    serial: /CheckCoverage '\{"serial": "(\w+)"/.exec(told)[1],
    token,
    /** Any method as any kind of caller, as JSON. */
    call: (method, request, as) => JSON.parse(execFileSync(binary, ['call', method, JSON.stringify(request), '--as', as], { env, stdio: ['ignore', 'pipe', 'pipe'] })),
    /** A customer's browser tab, signed in; whatever its scripts or its policy complain of fails the test. */
    async tab({ locale = 'zh-CN', width = 390, height = 844, colorScheme = 'light', as = 'customer', path = '' } = {}) {
      const context = await browser.newContext({ ignoreHTTPSErrors: Boolean(envoy), locale, viewport: { width, height }, colorScheme, reducedMotion: 'reduce' });
      const tab = await context.newPage();
      tab.complaints = [];
      tab.outside = [];
      tab.on('pageerror', (error) => tab.complaints.push(error.message));
      tab.on('console', (message) => { if (/Content Security Policy|Trusted/.test(message.text())) tab.complaints.push(message.text()); });
      tab.on('request', (request) => { if (![origin, ...(envoy ? [] : [coverage, claim, logistics])].includes(new URL(request.url()).origin) && !/^(data|blob):/.test(request.url())) tab.outside.push(request.url()); });
      await tab.goto(as ? `${origin}/#token=${await token(as)}` : `${origin}/`);
      if (path) await tab.evaluate((to) => { location.hash = to; }, path);
      return tab;
    },
    async end() {
      await browser.close();
      page?.close();
      services.removeAllListeners('exit');
      const gone = new Promise((resolve) => services.once('exit', resolve));
      services.kill('SIGINT');
      await gone;
      rmSync(data, { recursive: true, force: true });
    },
  };
}
