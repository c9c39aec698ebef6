// Builds the page into dist/; with --serve it also serves it beside a running `warranty up`, signed in as the sample's customer.
//
// WARRANTY_WEB_API: the gateway's origin, or three comma separated (coverage, claim, logistics) where no gateway stands in front;
// empty: the page's own origin. WARRANTY_WEB_SIGN_IN: where a customer signs in; it comes back with #token=JWT.
// WARRANTY_UP: the first port of that `up`.
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import esbuild from 'esbuild';

const here = fileURLToPath(new URL('.', import.meta.url));
const escape = (text) => text.replace(/[&"<]/g, (c) => ({ '&': '&amp;', '"': '&quot;', '<': '&lt;' })[c]);

export async function build({ api = '', signIn = '', out = join(here, 'dist') } = {}) {
  const run = (file, ...args) => execFileSync(join(here, 'node_modules/.bin', file), args, { cwd: here, stdio: 'inherit' });
  run('buf', 'generate');
  run('tsc', '-p', '.');
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  await esbuild.build({
    entryPoints: [join(here, 'src/main.ts'), join(here, 'src/style.css')],
    outdir: out, bundle: true, minify: true, splitting: true, format: 'esm', target: 'es2022', sourcemap: false,
  });
  await copyFile(join(here, 'src/icon.svg'), join(out, 'icon.svg'));
  const origins = api.split(',').filter(Boolean).map((url) => new URL(url).origin);
  const policy = [
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob:",
    ["connect-src 'self'", ...origins].join(' '), "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'",
  ].join('; ');
  const page = await readFile(join(here, 'src/index.html'), 'utf8');
  await writeFile(join(out, 'index.html'),
    page.replace('@POLICY@', escape(policy)).replace('@API@', escape(api)).replace('@SIGN_IN@', escape(signIn)));
  return out;
}

const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

/** Serves the built page on loopback. */
export function serve(out, port = 0) {
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, 'http://page').pathname;
    const name = path === '/' ? 'index.html' : path.slice(1);
    try {
      if (!(await readdir(out)).includes(name)) throw new Error('not ours');
      response.writeHead(200, {
        'content-type': TYPES[extname(name)] ?? 'application/octet-stream', 'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer', 'content-security-policy': "frame-ancestors 'none'", 'cache-control': 'no-cache',
      }).end(await readFile(join(out, name)));
    } catch {
      response.writeHead(404).end();
    }
  });
  return new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', () => resolve(server)));
}

/** Serves the page where `warranty up` lets it call from, and tells the address that opens it. */
async function beside(up) {
  const asked = await fetch(`http://127.0.0.1:${up}/token?as=customer`).catch(() => undefined);
  if (!asked?.ok) throw new Error(`no \`warranty up\` at port ${up}: start \`make up\` first, or name its port in WARRANTY_UP`);
  const { access_token: token } = await asked.json();
  // Not dist/: that may be built for a gateway.
  const out = await build({ api: [1, 2, 3].map((at) => `http://127.0.0.1:${up + at}`).join(','), out: join(here, '../target/web/page') });
  await serve(out, 5173);
  console.log(`\nThe customer's page, signed in:\n\n  http://127.0.0.1:5173/#token=${token}\n`);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  if (process.argv.includes('--serve')) {
    await beside(Number(process.env.WARRANTY_UP ?? 7050)).catch((error) => { console.error(error.message); process.exit(1); });
  } else {
    const out = await build({ api: process.env.WARRANTY_WEB_API, signIn: process.env.WARRANTY_WEB_SIGN_IN });
    for (const name of (await readdir(out)).sort()) {
      const bytes = await readFile(join(out, name));
      console.log(`${name.padEnd(24)} ${String(bytes.length).padStart(8)} bytes, ${gzipSync(bytes).length} gzip`);
    }
  }
}
