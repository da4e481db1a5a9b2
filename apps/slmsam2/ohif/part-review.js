// What reviewers say of the saved label; for reviewers: approve it, flag it, or take back what was said.
import { actionButton, element } from './element.js';
import { reviewed } from './sentences.js';

/** @type {import('./panel.js').MakePart} */
export function reviewPart({ reviewing }) {
  const words = element('span.slmsam2-reviewed', { role: 'status' });
  const comment = /** @type {HTMLInputElement} */ (element('input', {
    type: 'text', maxLength: 2000, placeholder: 'What is to be corrected', 'aria-label': 'Comment for the annotator',
  }));
  const note = async (status, said) => { if (await reviewing.note(status, said)) open(false); };
  const flag = actionButton('flag', 'The saved label is to be corrected: it is not learnt from, and comes back to who saved it',
    'Flag', () => note('flagged', comment.value));
  const approve = actionButton('approve', 'The saved label is right', 'Approve', () => note('approved', comment.value));
  const takeBack = actionButton('take-back', 'The saved label is not reviewed yet', 'Take back', () => note('', ''));
  const form = element('div.slmsam2-review', { hidden: true }, comment, element('div.slmsam2-row.slmsam2-even', {}, takeBack, flag, approve));
  const toggle = actionButton('review', 'Approve or flag the saved label', 'Review', () => open(form.hidden));
  const open = isOpen => {
    if (!isOpen && form.contains(document.activeElement)) toggle.focus(); // or the keys would begin at the top of the page
    form.hidden = !isOpen;
    toggle.setAttribute('aria-expanded', String(isOpen));
    comment.value = reviewing.review?.comment ?? '';
    if (isOpen) comment.focus();
  };
  open(false);
  /** @type {import('./reviewing.js').Review|null} that is shown */
  let drawn = null;
  const node = element('section.slmsam2-part', {}, element('div.slmsam2-row', {}, words, toggle), form);
  return {
    node,
    update() {
      const { review } = reviewing;
      node.hidden = review === null;
      if (review?.mark !== drawn?.mark) open(false); // what was written is about another label
      const text = review ? reviewed(review) : '';
      if (words.textContent !== text) { // or screen readers say it again
        words.setAttribute('aria-live', review === drawn ? 'off' : 'polite'); // that it is a minute older is no news
        words.textContent = text;
      }
      drawn = review;
      words.classList.toggle('slmsam2-flagged', review?.status === 'flagged');
      words.classList.toggle('slmsam2-approved', review?.status === 'approved');
      takeBack.hidden = !review?.status;
      takeBack.disabled = flag.disabled = approve.disabled = !reviewing.canReview;
    },
  };
}
