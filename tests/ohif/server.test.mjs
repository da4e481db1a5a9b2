import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';

import { Server, isFar } from '../../apps/slmsam2/ohif/server.js';

/** What the next requests are answered with, and what came. */
const answers = [];
const came = [];
let web, server;

before(async () => {
  web = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    came.push({ method: request.method, url: request.url, body: Buffer.concat(parts).toString('latin1') });
    const { status = 200, type = 'application/json', body = '{}' } = answers.shift() ?? {};
    response.writeHead(status, { 'Content-Type': type });
    response.end(body);
  });
  await new Promise(resolve => web.listen(0, '127.0.0.1', resolve));
  server = new Server('browser-1', `http://127.0.0.1:${web.address().port}`);
});

after(() => web.close());

test('an inference: parameters and label go out, parameters and file come back', async () => {
  const boundary = '0123456789abcdef0123456789abcdef';
  const body = [
    `--${boundary}`, 'Content-Disposition: form-data; name="params"', 'Content-Type: application/json', '', '{"axis": 2}',
    `--${boundary}`, 'Content-Disposition: form-data; name="image"; filename="a.nii"', '', 'abc', `--${boundary}--`, '',
  ].join('\r\n');
  answers.push({ type: `multipart/form-data; boundary=${boundary}`, body });
  const { params, file } = await server.infer('slmsam2', '1.2', { direction: 'both' }, Uint8Array.of(65, 66));
  assert.deepEqual(params, { axis: 2 });
  assert.equal(Buffer.from(file).toString(), 'abc');
  const request = came.at(-1);
  assert.equal(request.url, '/infer/slmsam2?image=1.2&output=all');
  assert.match(request.body, /\{"direction":"both","result_extension":"\.nii",.*"client_id":"browser-1"\}/);
  assert.match(request.body, /filename="label.bin"[\s\S]*AB\r\n/);
});

test('over a network labels are packed', async () => {
  const far = new Server('browser-1', server.base, true);
  const labels = new Uint8Array(10_000).fill(3, 500, 600);
  answers.push({});
  await far.saveLabel('1.2', labels, []);
  const { body } = came.at(-1);
  assert.ok(body.length < 1000);
  const [, content] = body.split(/filename="label\.bin\.gz"\r\n(?:[^\r\n]+\r\n)*\r\n/);
  assert.deepEqual(new Uint8Array(gunzipSync(Buffer.from(content.slice(0, content.lastIndexOf('\r\n--', content.length - 10)), 'latin1'))), labels);
  answers.push({ status: 400 });
  await assert.rejects(far.infer('slmsam2', '1.2', {}, labels));
  assert.match(came.at(-1).body, /"result_extension":"\.nii\.gz"/);
});

test('this machine is no network', () => {
  for (const host of ['localhost', '127.0.0.1', '[::1]', undefined]) assert.equal(isFar(host), false);
  for (const host of ['label.example.org', '192.168.0.7', '[fe80::1]']) assert.equal(isFar(host), true);
});

test('a refusal is the server\'s own sentence', async () => {
  answers.push({ status: 400, body: '{"detail": "Nothing is painted."}' });
  await assert.rejects(server.infer('slmsam2', '1.2', {}, null), { message: 'Nothing is painted.', status: 400 });
  answers.push({ status: 500, type: 'text/plain', body: 'Internal Server Error' });
  await assert.rejects(server.info(), /an error \(500\)/);
});

test('no answer at all', async () => {
  await assert.rejects(new Server('browser-1', 'http://127.0.0.1:1').info(), /does not answer. Your painting is safe/);
});

test('what is missing is null, not an error', async () => {
  for (const ask of [() => server.progress('a'), () => server.savedLabel('1.2'), () => server.nextSample('random')]) {
    answers.push(ask.toString().includes('nextSample') ? { body: '{}' } : { status: 404 });
    assert.equal(await ask(), null);
  }
  answers.push({ status: 404 });
  assert.equal(await server.isTraining(), false);
});

test('who asks for the next image and saves a label is said', async () => {
  answers.push({ body: '{"id": "1.2"}' }, {});
  await server.nextSample('random');
  assert.deepEqual(JSON.parse(came.at(-1).body), { client_id: 'browser-1' });
  await server.saveLabel('1.2', Uint8Array.of(1), [{ name: 'liver', id: 1, color: [] }]);
  assert.match(came.at(-1).body, /"client_id":"browser-1"/);
});

test('a saved label comes with the names of its structures', async () => {
  answers.push({ type: 'application/octet-stream', body: 'abc' }, { body: '{"label_info": [{"name": "liver", "id": 1}]}' });
  const saved = await server.savedLabel('1.2');
  assert.equal(Buffer.from(saved.file).toString(), 'abc');
  assert.deepEqual(saved.structures, [{ name: 'liver', id: 1 }]);
  assert.deepEqual([saved.made, saved.creator, saved.isOwn], [undefined, undefined, false]);
  assert.match(came.at(-1).url, /label=1.2&tag=final/);
});

test('of a saved label it is known who made it and when, as far as the server knows', async () => {
  const info = { label_info: [], made: '2026-01-31T09:30:00', creator: 'anna', client_id: 'browser-1' };
  answers.push({ type: 'application/octet-stream', body: 'abc' }, { body: JSON.stringify(info) });
  const { made, creator, isOwn } = await server.savedLabel('1.2');
  assert.deepEqual([made, creator, isOwn], ['2026-01-31T09:30:00', 'anna', true]);
});

test('an answer that breaks off on its way is a sentence', async () => {
  const broken = createServer((request, response) => {
    request.resume();
    response.writeHead(200, { 'Content-Type': 'multipart/form-data; boundary=x', 'Content-Length': 100_000 });
    response.write('--x\r\n');
    setTimeout(() => response.destroy(), 20);
  });
  await new Promise(resolve => broken.listen(0, '127.0.0.1', resolve));
  const far = new Server('browser-1', `http://127.0.0.1:${broken.address().port}`);
  for (const ask of [() => far.infer('slmsam2', '1.2', {}, null), () => far.savedLabel('1.2'), () => far.info()]) {
    await assert.rejects(ask(), /does not answer. Your painting is safe/);
  }
  broken.close();
});

test('a request that is given up ends though nobody answers', async () => {
  const silent = createServer(request => request.resume());
  await new Promise(resolve => silent.listen(0, '127.0.0.1', resolve));
  const abort = new AbortController();
  const asked = new Server('browser-1', `http://127.0.0.1:${silent.address().port}`).infer('slmsam2', '1.2', {}, null, abort.signal);
  setTimeout(() => abort.abort(), 50);
  await assert.rejects(asked);
  silent.closeAllConnections();
  silent.close();
});

test('who gives their name asks by it', async () => {
  const named = new Server('browser-1', server.base);
  named.name = 'Anna';
  answers.push({ body: '{"label": {"status": "approved"}}' });
  assert.deepEqual(await named.saveReview('1.2', { status: 'approved', comment: '', mark: '7' }), { status: 'approved' });
  const { method, url, body } = came.at(-1);
  assert.deepEqual([method, url, JSON.parse(body)],
    ['POST', '/slmsam2/review/1.2', { status: 'approved', comment: '', mark: '7', client_id: 'Anna' }]);
  answers.push({ body: '{"label": null}' });
  assert.equal(await named.review('1.2'), null);
});
