// The customer's page in real Chromium, against the real services.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import encodeQR from 'qr';
import { shots, world } from './world.mjs';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
let w;
before(async () => { w = await world(); });
after(() => w?.end());

/** No violation by axe, no complaint, nothing wider than the screen, no request elsewhere. */
async function sound(tab, name) {
  // From outside the page's policy, as a person's own tools are.
  const session = await tab.context().newCDPSession(tab);
  const { frameTree } = await session.send('Page.getFrameTree');
  const { executionContextId: contextId } = await session.send('Page.createIsolatedWorld', { frameId: frameTree.frame.id });
  await session.send('Runtime.evaluate', { expression: axe, contextId });
  const { result } = await session.send('Runtime.evaluate', {
    expression: `axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then((r) => r.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.target + ' ' + n.failureSummary).join('; ')))`,
    contextId, awaitPromise: true, returnByValue: true,
  });
  await session.detach();
  assert.deepEqual(result.value, [], name);
  assert.deepEqual(tab.complaints, [], name);
  assert.deepEqual(tab.outside, [], name);
  const wider = await tab.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wider <= 0, `${name}: ${wider} px wider than the screen`);
  const small = await tab.$$eval('button, a:not(.skip), input:not([type=radio],[type=checkbox]), select, summary', (all) => all
    .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 43.5).map((e) => e.outerHTML));
  assert.deepEqual(small, [], `${name}: targets under 44 px`);
  await tab.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
}

async function check(tab, serial) {
  await tab.fill('[name=serial]', serial);
  await tab.press('[name=serial]', 'Enter');
}

test('without a token the page tells only how to sign in', async () => {
  const tab = await w.tab({ as: '' });
  await tab.getByRole('heading', { name: '请先登录' }).waitFor();
  assert.equal(await tab.locator('input').count(), 0);
  await sound(tab, 'sign-in');
});

test('the token leaves the address at once and stays with the tab', async () => {
  const tab = await w.tab();
  await tab.locator('[name=serial]').waitFor();
  assert.equal(new URL(tab.url()).hash, '#/');
  await tab.reload();
  await tab.locator('[name=serial]').waitFor();
  await sound(tab, 'start-zh');
});

test("a link with another's token changes the account only when that is wanted", async () => {
  const tab = await w.tab();
  const own = await tab.evaluate(() => sessionStorage.getItem('token'));
  const other = await w.token('dealer');
  const asked = [];
  for (const [answer, kept] of [[false, own], [true, other]]) {
    tab.once('dialog', (dialog) => { asked.push(dialog.message()); return answer ? dialog.accept() : dialog.dismiss(); });
    await tab.evaluate((token) => { location.hash = `#token=${token}`; }, other);
    await tab.waitForURL((url) => url.hash === '#/');
    assert.equal(await tab.evaluate(() => sessionStorage.getItem('token')), kept);
  }
  assert.deepEqual(asked, Array(2).fill('此链接会换成另一个账号登录，要换吗？'));
});

test('a serial is answered with its sentence, clauses and time line, in Chinese and in English', async () => {
  const tab = await w.tab();
  await check(tab, w.serial.toLowerCase());
  await tab.getByRole('heading', { level: 2, name: '免费换新' }).waitFor();
  await tab.getByRole('img', { name: /质保时间线.*包换 \(T1\).*还剩 12 天/ }).waitFor();
  assert.equal(await tab.locator('table tbody tr').count(), 3);
  await tab.getByRole('heading', { level: 2, name: '视频光端机 AOP-VT-2008' }).waitFor();
  assert.match(await tab.locator('.clauses').first().innerText(), /T1.*15/s);
  assert.match(await tab.locator('.facts').innerText(), /寄件人承担[^]*厂家承担/);
  await sound(tab, 'answer-zh');
  await tab.click('#language');
  await tab.getByRole('heading', { level: 2, name: 'Free replacement' }).waitFor();
  assert.equal(await tab.evaluate(() => document.documentElement.lang), 'en');
  assert.match(await tab.locator('.verdict').innerText(), /Covered: the unit is replaced free of charge/);
  await sound(tab, 'answer-en');
});

test('what is no longer covered says whom to call', async () => {
  const tab = await w.tab({ locale: 'en-GB' });
  await check(tab, 'VT2008000271');
  await tab.getByRole('heading', { name: 'Questions? Call after-sales service' }).waitFor();
  assert.match(await tab.locator('.facts').innerText(), /Free cover left\s+None/);
  await sound(tab, 'not-covered-en');
});

test('a serial that is not known suggests what it may have been meant to be', async () => {
  const tab = await w.tab();
  await check(tab, w.serial.replaceAll('0', 'O'));
  await tab.getByRole('alert').getByText('没有找到').waitFor();
  await sound(tab, 'not-found');
  await tab.getByRole('button', { name: w.serial }).click();
  await tab.getByRole('heading', { level: 2, name: '免费换新' }).waitFor();
});

test('bad input is told beside its field', async () => {
  const tab = await w.tab();
  await check(tab, '?!');
  await tab.getByText('序列号为 4 至 40 个字母或数字。').waitFor();
  assert.equal(await tab.locator('[name=serial]').getAttribute('aria-invalid'), 'true');
});

test('a QR code is read from a photo', async () => {
  const tab = await w.tab();
  await tab.click('text=扫码');
  const picture = await tab.evaluate(async (rows) => {
    const canvas = new OffscreenCanvas(400, 400), context = canvas.getContext('2d'), size = 340 / rows.length;
    context.fillStyle = 'white'; context.fillRect(0, 0, 400, 400); context.fillStyle = 'black';
    rows.forEach((row, y) => row.forEach((on, x) => { if (on) context.fillRect(30 + x * size, 30 + y * size, size + 0.5, size + 0.5); }));
    return [...new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer())];
  }, encodeQR(`https://example.com/p/${w.serial}`, 'raw', { border: 1 }));
  await tab.setInputFiles('#scan-photo', { name: 'label.png', mimeType: 'image/png', buffer: Buffer.from(picture) });
  await tab.getByRole('heading', { level: 2, name: '免费换新' }).waitFor();
});

test('a unit of another buyer asks for the proof of purchase, beside its field', async () => {
  const tab = await w.tab({ locale: 'en-GB', path: '#/apply/VT2008000001' });
  await tab.selectOption('[name=fault]', 'NO_POWER');
  await tab.click('text=See what would happen');
  await tab.getByRole('heading', { name: 'This stands in the way' }).waitFor();
  assert.equal(await tab.locator('[name=invoice]').getAttribute('aria-invalid'), 'true');
  assert.equal(await tab.getByRole('button', { name: 'File the claim' }).count(), 0);
  await sound(tab, 'obstacle-en');
});

test('the whole way: check, preview, file once though reloaded, photo, follow, send in', async () => {
  const tab = await w.tab();
  await check(tab, w.serial);
  await tab.getByRole('link', { name: '申请售后' }).click();
  await tab.selectOption('[name=fault]', 'NO_POWER');
  await tab.click('text=看看会怎样');
  await tab.getByRole('heading', { name: '提交后会这样' }).waitFor();
  await tab.getByText(/^售后将电话指导，排查故障，期限\d+年\d+月\d+日。$/).waitFor();
  assert.match(await tab.locator('.clauses').first().innerText(), /T1.*15/s);
  await sound(tab, 'preview-zh');

  // The claim is filed, but its answer never comes: the page is reloaded before.
  let filed = 0, reached;
  const arrived = new Promise((resolve) => { reached = resolve; });
  const ids = new Set();
  await tab.route('**/aopre.warranty.v1.ClaimService/FileClaim', async (route) => {
    if (route.request().method() !== 'POST') return route.continue();
    filed += 1;
    ids.add(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/.exec(route.request().postDataBuffer().toString('latin1'))[0]);
    if (filed > 1) return route.continue();
    await route.fetch();
    reached();
    await route.abort().catch(() => {});
  });
  await tab.getByRole('button', { name: '提交申请' }).click();
  await arrived;
  await tab.reload();
  await tab.getByRole('heading', { level: 1, name: '申请进度' }).waitFor();
  const claimId = new URL(tab.url()).hash.split('/')[2];
  assert.equal(filed, 2);
  assert.equal(ids.size, 1, 'both with one request_id');
  const { claims } = w.call('ClaimService/ListClaims', { serial: w.serial }, 'customer');
  assert.deepEqual(claims.map((claim) => claim.claimId), [claimId]);

  // A photo of three chunks; the second is cut off, and what is sent again goes on from there.
  const photo = Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), Buffer.alloc(1_300_000, 7)]);
  let chunks = 0;
  await tab.route('**/aopre.warranty.v1.ClaimService/AddEvidence', (route) => {
    if (route.request().method() === 'POST' && (chunks += 1) === 2) return route.abort();
    return route.continue();
  });
  await tab.setInputFiles('input[type=file]', { name: 'unit.png', mimeType: 'image/png', buffer: photo });
  await tab.getByRole('button', { name: '上传' }).click();
  await tab.getByText('网络不通').waitFor();
  await tab.getByRole('button', { name: '上传' }).click();
  await tab.locator('.photos li').waitFor();
  assert.equal(chunks, 2 + 1 + 2, 'one sent, one cut off, one question, two more');
  const { evidence } = w.call('ClaimService/GetClaim', { claimId }, 'customer');
  assert.deepEqual(evidence.map((one) => [one.kind, Number(one.sizeBytes)]), [['EVIDENCE_KIND_PHOTO', photo.length]]);

  // Support answers; the page tells it by itself.
  w.call('ClaimService/RecordGuidance', { claimId, outcome: 'GUIDANCE_OUTCOME_CONFIRMED' }, 'support');
  await tab.getByText('返修编号').waitFor();
  await tab.getByText('申请已通过，产品可以寄来。').waitFor();
  await tab.getByText(/^您可以寄出产品，截止\d+年\d+月\d+日。$/).waitFor();
  assert.match(await tab.locator('.verdict').innerText(), /可免费更换产品（条款T1、T8）。\s+初步决定/);
  assert.match(await tab.locator('.clauses').first().innerText(), /T1.*15/s);
  await sound(tab, 'claim-zh');
  await tab.getByRole('button', { name: '我已寄出' }).click();
  await tab.getByRole('button', { name: '确认' }).click();
  await tab.getByText('请填写快递公司。').waitFor();
  await tab.fill('[name=carrier]', 'SF');
  await tab.getByRole('button', { name: '确认' }).click();
  await tab.getByText('产品正寄往维修中心。').waitFor();
  await tab.click('#language');
  await tab.getByText('The unit is on its way to the repair centre.').waitFor();
  assert.match(await tab.locator('.verdict').innerText(), /Covered: the unit is replaced free of charge/);
  await tab.getByRole('listitem').filter({ hasText: 'Sent in' }).waitFor();
  await sound(tab, 'claim-en');
  await tab.getByRole('link', { name: 'My claims' }).click();
  await tab.getByRole('link', { name: new RegExp(w.serial) }).waitFor();
  await sound(tab, 'claims-en');
});

test('a second claim for the unit is refused with the way to the first', async () => {
  const tab = await w.tab({ locale: 'en-GB', path: `#/apply/${w.serial}` });
  await tab.selectOption('[name=fault]', 'NO_POWER');
  await tab.click('text=See what would happen');
  await tab.getByText('This unit has an open claim already.').waitFor();
  await tab.getByRole('link', { name: 'See that claim' }).click();
  await tab.getByRole('link', { name: new RegExp(w.serial) }).waitFor();
});

test('a paid repair: estimate, quote, appeal, acceptance', async () => {
  const unit = { serial: 'WEBPAID001', model: 'AOP-VT-2008', manufacturedDate: { year: 2020, month: 3, day: 1 }, exFactoryDate: { year: 2020, month: 3, day: 9 }, soldByMaker: true };
  w.call('RegistryService/RegisterUnits', { units: [unit] }, 'registry');
  const tab = await w.tab({ locale: 'en-GB', path: `#/apply/${unit.serial}` });
  await tab.selectOption('[name=fault]', 'NO_POWER');
  await tab.click('text=Proof of purchase');
  await tab.fill('[name=invoice]', 'FP-WEB-1');
  await tab.click('text=See what would happen');
  await tab.getByText('Estimated price, tax included').waitFor();
  await sound(tab, 'estimate-en');
  await tab.getByRole('button', { name: 'File the claim' }).click();
  await tab.getByRole('heading', { level: 1, name: 'Your claim' }).waitFor();
  const claimId = new URL(tab.url()).hash.split('/')[2];
  const { claim } = w.call('ClaimService/RecordGuidance', { claimId, outcome: 'GUIDANCE_OUTCOME_CONFIRMED' }, 'support');
  const { shipment } = w.call('LogisticsService/OpenReturn', { claimIds: [claimId], carrier: 'SF' }, 'customer');
  w.call('LogisticsService/ReceiveReturn', { shipmentId: shipment.shipmentId, items: [{ returnNumber: claim.returnNumber, serial: unit.serial, appearance: 'APPEARANCE_INTACT', seal: 'SEAL_INTACT' }] }, 'depot');
  w.call('ClaimService/RecordInspection', { claimId }, 'depot');
  w.call('ClaimService/QuoteRepair', { claimId }, 'billing');
  await tab.getByRole('heading', { name: 'Quote for the repair' }).waitFor();
  await sound(tab, 'quote-en');
  await tab.getByRole('button', { name: 'Appeal against the decision' }).click();
  await tab.getByRole('button', { name: 'Confirm' }).click();
  await tab.locator('form [aria-invalid]').waitFor();
  await tab.fill('[name=reason]', 'It failed within the year');
  await tab.getByRole('button', { name: 'Confirm' }).click();
  await tab.getByText('Your appeal is being looked at.').waitFor();
  w.call('ClaimService/DecideAppeal', { claimId, outcome: 'APPEAL_OUTCOME_UPHELD', reason: 'The year is over' }, 'support');
  await tab.getByText('The year is over').waitFor();
  await tab.getByRole('button', { name: 'Accept the quote' }).click();
  await tab.getByText('The unit is being repaired or replaced.').waitFor();
});

test("another's claim looks like none", async () => {
  const tab = await w.tab({ locale: 'en-GB', path: '#/claim/00000000-0000-4000-8000-00000000abcd' });
  await tab.getByRole('alert').getByText('Not found. Please check the number.').waitFor();
});

test('no network is a sentence, and a second try works', async () => {
  const tab = await w.tab();
  await tab.locator('[name=serial]').waitFor();
  await tab.context().setOffline(true);
  await check(tab, w.serial);
  await tab.getByText('网络不通').waitFor();
  await tab.context().setOffline(false);
  await check(tab, w.serial);
  await tab.getByRole('heading', { level: 2, name: '免费换新' }).waitFor();
});

/** A refusal as the services write it: google.rpc.Status with one detail, in the headers of an answer without messages. */
function refused(code, message, type, detail) {
  const part = (number, bytes) => Buffer.concat([Buffer.from([number * 8 + 2, bytes.length]), bytes]);
  const any = Buffer.concat([part(1, Buffer.from(`type.googleapis.com/google.rpc.${type}`)), part(2, detail(part))]);
  const status = Buffer.concat([Buffer.from([8, code]), part(2, Buffer.from(message)), part(3, any)]);
  return {
    status: 200, contentType: 'application/grpc-web+proto',
    headers: {
      'grpc-status': String(code), 'grpc-message': encodeURIComponent(message), 'grpc-status-details-bin': status.toString('base64'),
      'access-control-allow-origin': w.origin, 'access-control-expose-headers': 'grpc-status, grpc-message, grpc-status-details-bin',
    },
  };
}

test('a refusal that says when to try again is tried again then, and not before', async () => {
  const tab = await w.tab();
  const at = [];
  await tab.route('**/CheckCoverage', (route) => {
    if (route.request().method() !== 'POST') return route.continue();
    at.push(Date.now());
    return at.length === 1 ? route.fulfill(refused(14, 'busy', 'RetryInfo', (part) => part(1, Buffer.from([8, 1])))) : route.continue();
  });
  await check(tab, w.serial);
  await tab.getByText('系统繁忙，1 秒后自动再试。').waitFor({ state: 'attached' });
  await tab.getByRole('heading', { level: 2, name: '免费换新' }).waitFor();
  assert.equal(at.length, 2);
  assert.ok(at[1] - at[0] >= 1000, `after ${at[1] - at[0]} ms`);
});

test('a reason that the page does not know shows what the server says', async () => {
  const tab = await w.tab();
  await tab.route('**/CheckCoverage', (route) => route.request().method() !== 'POST' ? route.continue()
    : route.fulfill(refused(9, 'the unit is on the moon', 'ErrorInfo', (part) => part(1, Buffer.from('ON_THE_MOON')))));
  await check(tab, w.serial);
  await tab.getByRole('alert').getByText('the unit is on the moon').waitFor();
});

test('a token that is not accepted leads back to signing in', async () => {
  const tab = await w.tab({ locale: 'en-GB' });
  await tab.locator('[name=serial]').waitFor();
  await tab.evaluate(() => sessionStorage.setItem('token', 'a.b.c'));
  await check(tab, w.serial);
  await tab.getByText('Your sign-in has ended.').waitFor();
});

test('the keyboard alone reaches the answer and the form', async () => {
  const tab = await w.tab({ locale: 'en-GB' });
  const focused = () => tab.evaluate(() => { const e = document.activeElement; return e.textContent.trim() || e.name; });
  const press = async (key, until) => {
    for (let i = 0; i < 25; i += 1) { await tab.keyboard.press(key); if (await focused() === until) return; }
    assert.fail(`${until} is not reached`);
  };
  await tab.locator('[name=serial]').waitFor();
  await press('Tab', 'Skip to the content');
  await tab.keyboard.press('Enter');
  await press('Tab', 'serial');
  await tab.keyboard.type('VT2008000001');
  await press('Tab', 'Check');
  await tab.keyboard.press('Enter');
  await tab.getByRole('link', { name: 'Make a claim' }).waitFor();
  assert.equal(await focused(), await tab.locator('.verdict h2').innerText(), 'the answer has the focus');
  await press('Tab', 'Make a claim');
  await tab.keyboard.press('Enter');
  await tab.locator('[name=fault]').waitFor();
  for (let i = 0; i < 10 && !await tab.evaluate(() => document.activeElement.name === 'fault'); i += 1) await tab.keyboard.press('Tab');
  await tab.keyboard.type('Does not power');
  await press('Tab', 'See what would happen');
  await tab.keyboard.press('Enter');
  await tab.getByRole('heading', { name: 'What would happen' }).waitFor();
});

test('it fits 320 px and a desktop, light and dark', async () => {
  for (const [name, width, height, colorScheme] of [['320-zh', 320, 640, 'light'], ['320-dark', 320, 640, 'dark'], ['desktop', 1280, 900, 'light']]) {
    const tab = await w.tab({ width, height, colorScheme, locale: name === 'desktop' ? 'en-GB' : 'zh-CN' });
    await check(tab, w.serial);
    await tab.locator('.timeline').waitFor();
    await sound(tab, name);
    await tab.evaluate((serial) => { location.hash = `#/apply/${serial}`; }, w.serial);
    await tab.locator('[name=fault]').waitFor();
    await sound(tab, `${name}-apply`);
  }
});
