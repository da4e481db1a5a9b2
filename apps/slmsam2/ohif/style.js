// The panel's look: OHIF's colours.

const ID = 'slmsam2-style';

const STYLE = `
.slmsam2-host { height: 100%; overflow-y: auto; }
.slmsam2 { color: #fff; font-size: 13px; padding: 4px; }
.slmsam2 [hidden] { display: none !important; }
.slmsam2-part { background: #041c4a; border-radius: 4px; margin-bottom: 4px; padding: 6px 8px; }
.slmsam2 h3 { align-items: center; color: #5acce6; display: flex; justify-content: space-between; margin: 0 0 4px; }
.slmsam2-row { align-items: center; display: flex; flex-wrap: wrap; gap: 6px; }
.slmsam2-row + .slmsam2-row { margin-top: 6px; }
.slmsam2 button { background: #090c29; border: 1px solid #0944b3; border-radius: 4px; color: #fff; padding: 3px 9px; }
.slmsam2 button:hover:not(:disabled) { border-color: #5acce6; }
.slmsam2 button:disabled { opacity: 0.45; }
.slmsam2 button.slmsam2-main { background: #0944b3; }
.slmsam2 button.slmsam2-on { background: #5acce6; color: #090c29; }
.slmsam2 select, .slmsam2 input[type=text], .slmsam2 input[type=number] {
  background: #090c29; border: 1px solid #0944b3; border-radius: 4px; color: #fff; padding: 2px 4px; }
.slmsam2 input[type=range] { accent-color: #5acce6; appearance: auto; background: none; flex: 1; height: 16px; min-width: 60px; }
.slmsam2 input[type=color] { background: none; border: none; height: 20px; padding: 0; width: 20px; }
.slmsam2 input.slmsam2-number { width: 64px; }
.slmsam2 progress { accent-color: #5acce6; flex: 1; min-width: 60px; }
.slmsam2-structures { list-style: none; margin: 0; padding: 0; }
.slmsam2-structures li { align-items: center; border: 1px solid transparent; border-radius: 4px; display: flex; gap: 6px; padding: 2px; }
.slmsam2-structures li.slmsam2-active { border-color: #5acce6; }
.slmsam2-structures input[type=text] { background: none; border: none; flex: 1; min-width: 0; }
.slmsam2-message { margin: 0 0 4px; padding: 4px 8px; }
.slmsam2-failed { background: #4a0410; border-radius: 4px; color: #ffc9c9; }
.slmsam2-strip { background: #090c29; cursor: pointer; display: block; height: 48px; margin-bottom: 6px; width: 100%; }
`;

export function addStyle() {
  if (document.getElementById(ID)) return;
  document.head.append(Object.assign(document.createElement('style'), { id: ID, textContent: STYLE }));
}
