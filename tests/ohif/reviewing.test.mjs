import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

globalThis.window = { addEventListener() {}, removeEventListener() {}, location: { search: '' } };
mock.method(console, 'error', () => {});
mock.method(console, 'warn', () => {});
const { visit } = await import('./visit.mjs');
const { later } = await import('./made_up.mjs');
const { reviewed } = await import('../../apps/slmsam2/ohif/sentences.js');

const MADE = '2026-01-31T09:30:00';
const SAVED = { status: '', reviewer: '', comment: '', creator: 'ann', made: MADE, mark: '1' };

/** A server with one saved label, and what it was told of it. */
function keeping(saved) {
  const server = {
    saved, told: [],
    review: async () => server.saved,
    saveReview: async (uid, { status, comment, mark }) => {
      server.told.push({ uid, status, comment, mark });
      server.saved = { ...server.saved, status, comment, reviewer: 'rita' };
      return server.saved;
    },
    saveLabel: async () => { server.saved = { ...SAVED, mark: '2' }; },
  };
  return server;
}

test('what is known of the saved label is there when the series is opened', async () => {
  const { controller, leave } = await visit(new Map(), { server: keeping(SAVED) });
  await later();
  assert.deepEqual([controller.reviewing.review, controller.reviewing.canReview], [SAVED, true]);
  leave();
});

test('without a label there is nothing to review, nor with a server that cannot tell', async () => {
  for (const review of [async () => null, async () => { throw new Error('gone'); }]) {
    const { controller, leave } = await visit(new Map(), { server: { review } });
    await later();
    assert.deepEqual([controller.reviewing.review, controller.reviewing.canReview], [null, false]);
    assert.equal(await controller.reviewing.note('approved', ''), false);
    assert.equal(controller.message.failed, false);
    leave();
  }
});

test('the label is flagged with a comment, and no longer so once another one is submitted', async () => {
  const server = keeping(SAVED);
  const { controller, images, leave } = await visit(new Map(), { server });
  await later();
  images[0].set([1, 1]);
  assert.equal(await controller.reviewing.note('flagged', 'the tip is missing'), true);
  assert.deepEqual(server.told, [{ uid: '1.2', status: 'flagged', comment: 'the tip is missing', mark: '1' }]);
  assert.equal(controller.reviewing.review.status, 'flagged');
  assert.match(controller.message.text, /flagged/);
  await controller.saving.submit();
  await later();
  assert.deepEqual([controller.reviewing.review.status, controller.reviewing.review.mark], ['', '2']);
  leave();
});

test('what was painted and not submitted cannot be taken for what is approved', async () => {
  const server = keeping(SAVED);
  const { controller, images, leave } = await visit(new Map(), { server });
  await later();
  images[0].set([1, 1]);
  assert.equal(await controller.reviewing.note('approved', ''), false);
  assert.deepEqual([controller.message.failed, server.told.length], [true, 0]);
  assert.match(controller.message.text, /submit it first/);
  await controller.saving.submit();
  await later();
  assert.equal(await controller.reviewing.note('approved', ''), true);
  assert.equal(controller.reviewing.review.status, 'approved');
  leave();
});

test('a label that was saved meanwhile is looked at before anything is said of it', async () => {
  const server = keeping(SAVED);
  server.saveReview = async () => { throw Object.assign(new Error('Another label was saved.'), { status: 409 }); };
  const { controller, leave } = await visit(new Map(), { server });
  await later();
  server.saved = { ...SAVED, creator: 'bob', mark: '2' };
  assert.equal(await controller.reviewing.note('approved', ''), false);
  await later();
  assert.deepEqual([controller.reviewing.review.creator, controller.message.text], ['bob', 'Another label was saved.']);
  leave();
});

test('an answer on the series before is not shown', async () => {
  const answers = new Map();
  const review = uid => new Promise(resolve => answers.set(uid, resolve));
  const { controller, leave } = await visit(new Map(), { server: { review } });
  const next = controller.reviewing.look('1.3');
  answers.get('1.3')({ ...SAVED, mark: '3' });
  await next;
  answers.get('1.2')({ ...SAVED, mark: '2' });
  await later();
  assert.equal(controller.reviewing.review.mark, '3');
  leave();
});

test('what was done with the label of a series is not asked of it once another one is opened', async () => {
  const server = keeping(SAVED);
  const { controller, images, leave } = await visit(new Map(), { server });
  await later();
  images[0].set([1, 1]);
  let sent;
  controller.server.saveLabel = () => new Promise(resolve => { sent = resolve; });
  const submitting = controller.saving.submit();
  server.saved = { ...SAVED, mark: '3' };
  await controller.reviewing.look('1.3'); // as when it is opened
  sent();
  await submitting;
  await later();
  assert.deepEqual([controller.reviewing.uid, controller.reviewing.review.mark], ['1.3', '3']);
  leave();
});

test('an answer that something newer has overtaken is not shown', async () => {
  const server = keeping(SAVED);
  const { controller, leave } = await visit(new Map(), { server });
  await later();
  const answers = [];
  controller.server.review = () => new Promise(resolve => answers.push(resolve));
  const looks = [controller.reviewing.again('1.2'), controller.reviewing.again('1.2')];
  answers[1]({ ...SAVED, mark: '2' });
  await looks[1];
  answers[0](SAVED);
  await looks[0];
  assert.equal(controller.reviewing.review.mark, '2');
  const late = controller.reviewing.again('1.2');
  await controller.reviewing.note('flagged', '');
  answers[2]({ ...SAVED, mark: '2' });
  await late;
  assert.equal(controller.reviewing.review.status, 'flagged');
  leave();
});

test('what the server could not tell is asked again as soon as it answers', async () => {
  let isLost = true;
  const server = keeping(SAVED);
  server.review = async () => { if (isLost) throw new Error('gone'); return SAVED; };
  const { controller, leave } = await visit(new Map(), { server });
  await later();
  await controller.watching.look();
  await later();
  assert.equal(controller.reviewing.review, null);
  isLost = false;
  await controller.watching.look();
  await later();
  assert.deepEqual(controller.reviewing.review, SAVED);
  leave();
});

test('what was to be corrected is not said of the label that is approved', async () => {
  const server = keeping({ ...SAVED, status: 'flagged', comment: 'the tip is missing' });
  const { controller, leave } = await visit(new Map(), { server });
  await later();
  await controller.reviewing.note('flagged', 'the tip is missing');
  await controller.reviewing.note('approved', 'the tip is missing');
  await controller.reviewing.note('flagged', 'the base is missing');
  await controller.reviewing.note('approved', 'well done');
  assert.deepEqual(server.told.map(each => each.comment), ['the tip is missing', '', 'the base is missing', 'well done']);
  leave();
});

test('a review is taken back', async () => {
  const server = keeping({ ...SAVED, status: 'approved', reviewer: 'rita', comment: 'well done' });
  const { controller, leave } = await visit(new Map(), { server });
  await later();
  assert.equal(await controller.reviewing.note('', ''), true);
  assert.deepEqual(server.told, [{ uid: '1.2', status: '', comment: '', mark: '1' }]);
  assert.match(controller.message.text, /taken back/);
  assert.match(reviewed(controller.reviewing.review), /not reviewed yet/);
  leave();
});

test('while no series is chosen there is nothing to review', async () => {
  const server = keeping(SAVED);
  const { controller, viewer, images, look, leave } = await visit(new Map(), { server });
  await later();
  images[0].set([1, 1]);
  const [series, shown] = [viewer.activeSeries(), viewer.activeSeries];
  viewer.activeSeries = () => null; // an empty viewport
  await look();
  assert.deepEqual([controller.reviewing.review, await controller.reviewing.note('approved', ''), server.told], [null, false, []]);
  viewer.activeSeries = shown;
  await look();
  assert.deepEqual([controller.session.series, controller.reviewing.review], [series, SAVED]);
  leave();
});

test('what is said of a review', () => {
  const now = new Date(MADE).getTime() + 2 * 3600_000;
  const said = review => reviewed({ ...SAVED, ...review }, now);
  assert.equal(said({}), 'Label saved by ann 2 hours ago, not reviewed yet.');
  assert.equal(said({ creator: '' }), 'Label saved 2 hours ago, not reviewed yet.');
  assert.equal(said({ status: 'approved', reviewer: 'rita' }), 'Approved by rita.');
  for (const comment of ['the tip is missing', 'the tip is missing.']) assert.equal(said({ status: 'flagged', reviewer: 'rita', comment }),
    'Flagged by rita: the tip is missing. Load saved, correct it, submit it again.');
  assert.equal(said({ status: 'flagged' }), 'Flagged. Load saved, correct it, submit it again.');
});

test('what somebody reviews while the series is open is seen at the next look at the server', async () => {
  const server = keeping(SAVED);
  let asked = 0;
  server.review = async () => { asked += 1; return server.saved; };
  const counts = { labelled: 1, approved: 0, flagged: 0 };
  server.info = async () => ({ models: { slmsam2: {} }, labels: ['spleen'], review: { ...counts } });
  const { controller, leave } = await visit(new Map(), { server });
  await later();
  await controller.watching.look();
  await later();
  const before = asked;
  await controller.watching.look();
  await later();
  assert.equal(asked, before); // nothing was reviewed
  server.saved = { ...SAVED, status: 'flagged', reviewer: 'rita' };
  counts.flagged = 1;
  await controller.watching.look();
  await later();
  assert.deepEqual([controller.reviewing.review.status, asked], ['flagged', before + 1]);
  leave();
});
