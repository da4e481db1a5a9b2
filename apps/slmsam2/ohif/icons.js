// Our own small pictures, drawn by styles in the colour of the text around them.

/** three slices, one above the other, a structure carried through them */
const SLICES = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 22 22" fill="none" stroke="black" stroke-linejoin="round">
<path d="M11 2.5 20 6.5 11 10.5 2 6.5Z"/><path d="M4.6 9.8 2 11 11 15 20 11 17.4 9.8"/>
<path d="M4.6 14.3 2 15.5 11 19.5 20 15.5 17.4 14.3"/><ellipse cx="11" cy="6.5" rx="3" ry="1.4" fill="black"/></svg>`;

const PENCIL = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="none" stroke="black" stroke-linejoin="round">
<path d="M2.5 13.5 3.3 10.2 10.8 2.7 13.3 5.2 5.8 12.7Z"/><path d="M9.3 4.2 11.8 6.7"/></svg>`;

export const slicesIcon = asImage(SLICES);
export const pencilIcon = asImage(PENCIL);

/** @param {string} svg @returns {string} an image for a style sheet */
function asImage(svg) {
  return `url("data:image/svg+xml,${encodeURIComponent(svg)}")`;
}
