// The panel's look: OHIF's colours.
import { pencilIcon, slicesIcon } from './icons.js';

const ID = 'slmsam2-style';

const STYLE = `
.slmsam2-host { height: 100%; overflow-y: auto; }
.slmsam2-host, .slmsam2-structures, .slmsam2-message, .slmsam2-reviewed { color-scheme: dark; scrollbar-color: #2a4a8a transparent; scrollbar-width: thin; }
.slmsam2 { color: #fff; font-size: 13px; line-height: 18px; padding: 4px; }
.slmsam2 [hidden] { display: none !important; }
.slmsam2 :focus-visible { outline: 2px solid #5acce6; outline-offset: 1px; }
.slmsam2-part { background: #041c4a; border-radius: 4px; margin-bottom: 4px; padding: 6px 8px; }
.slmsam2 h3 { align-items: center; color: #5acce6; display: flex; justify-content: space-between; margin: 0 0 4px; min-height: 26px; }
.slmsam2-row { align-items: center; display: flex; gap: 6px; }
.slmsam2-row + .slmsam2-row { margin-top: 6px; }
.slmsam2-even > * { flex: 1 1 auto; min-width: 0; }
.slmsam2-words { margin: 4px 0 0; overflow-wrap: anywhere; }
.slmsam2-words::first-letter { text-transform: uppercase; }

.slmsam2 button { background: #090c29; border: 1px solid #2358c4; border-radius: 4px; color: #fff; min-height: 26px; padding: 2px 6px; white-space: nowrap; }
.slmsam2 button:hover:not(:disabled) { background: #0f2460; border-color: #5acce6; }
.slmsam2 button:disabled, .slmsam2 input:disabled { cursor: not-allowed; opacity: 0.45; }
.slmsam2 button.slmsam2-main { background: #0944b3; border-color: #348cfd; }
.slmsam2 button.slmsam2-main:hover:not(:disabled) { background: #1a5bd6; }
.slmsam2 button.slmsam2-on, .slmsam2 button.slmsam2-on:hover:not(:disabled) { background: #5acce6; border-color: #5acce6; color: #090c29; }
.slmsam2 [data-action=propagate], .slmsam2 [data-action=redo] { flex: 1 1 0; }
.slmsam2 [data-action=undo] { flex: 2 1 0; }
.slmsam2-joined { gap: 0; }
.slmsam2-joined > button { border-radius: 0; flex: 1 1 auto; margin-left: -1px; padding: 2px 4px; }
.slmsam2-joined > button:first-child { border-radius: 4px 0 0 4px; margin-left: 0; }
.slmsam2-joined > button:not(:has(~ button:not([hidden]))) { border-radius: 0 4px 4px 0; }
.slmsam2-joined > button:hover, .slmsam2-joined > button:focus-visible { position: relative; }

.slmsam2 select, .slmsam2 input[type=text], .slmsam2 input[type=number] {
  background: #090c29; border: 1px solid #2358c4; border-radius: 4px; color: #fff; font-size: 13px; height: 26px; line-height: 18px; padding: 2px 4px; }
.slmsam2 input::placeholder { color: #9fb6d8; opacity: 1; }
.slmsam2 input[type=range] { accent-color: #5acce6; appearance: auto; background: none; flex: 1; height: 16px; min-width: 60px; }
.slmsam2 output { min-width: 44px; text-align: right; }
.slmsam2 input[type=color] { background: none; border: none; cursor: pointer; flex: none; height: 20px; padding: 0; width: 20px; }
.slmsam2 input.slmsam2-number { flex: 1; min-width: 0; }
.slmsam2 progress { appearance: none; background: #090c29; border: none; border-radius: 3px; flex: 1; height: 6px; min-width: 40px; overflow: hidden; }
.slmsam2 progress::-webkit-progress-bar { background: #090c29; }
.slmsam2 progress::-webkit-progress-value { background: #5acce6; transition: width 0.3s; }
.slmsam2 progress::-moz-progress-bar { background: #5acce6; }

.slmsam2-server { color: #c3d8ee; overflow-wrap: anywhere; }
.slmsam2 .slmsam2-who, .slmsam2 .slmsam2-name-field { float: right; height: 18px; line-height: 14px; margin-left: 6px; max-width: 110px; min-height: 0; padding: 0 6px; }
.slmsam2-who { overflow: hidden; text-overflow: ellipsis; }
.slmsam2-server strong { color: #fff; font-weight: 600; }
.slmsam2-server span { display: block; }
.slmsam2-server strong::before { background: #8a96ad; border-radius: 50%; content: ''; display: inline-block; height: 8px; margin-right: 6px; width: 8px; }
.slmsam2-server.slmsam2-connected strong::before { background: #3ecf6e; }
.slmsam2-server.slmsam2-failed strong::before { background: #ff6b6b; }

.slmsam2-structures { list-style: none; margin: 0; max-height: 208px; overflow-y: auto; padding: 0; position: relative; }
.slmsam2-structures li { align-items: center; border: 1px solid transparent; border-radius: 4px; display: flex; gap: 6px; padding: 1px 2px; }
.slmsam2-structures li:hover { background: #0f2460; }
.slmsam2-structures li.slmsam2-active { background: #0f2460; border-color: #5acce6; }
.slmsam2-structures input[type=text] { flex: 1; height: 22px; min-width: 0; }
.slmsam2-structures li button, .slmsam2-structures li button:hover:not(:disabled) { background: none; border-color: transparent; min-height: 22px; padding: 0 2px; }
.slmsam2-structures .slmsam2-name { flex: 1; min-width: 0; overflow: hidden; text-align: left; text-overflow: ellipsis; }
.slmsam2-structures .slmsam2-rename { flex: none; opacity: 0; width: 22px; }
.slmsam2-structures li:hover .slmsam2-rename, .slmsam2-structures .slmsam2-active .slmsam2-rename, .slmsam2-rename:focus-visible { opacity: 1; }
.slmsam2-rename::before { background: #9fc6ee; content: ''; display: block; height: 14px; margin: auto; mask: ${pencilIcon} center / contain no-repeat; width: 14px; }

.slmsam2-message { margin: 0 0 4px; max-height: 116px; min-height: 62px; overflow-wrap: anywhere; overflow-y: auto; padding: 4px 8px; }
.slmsam2-hint { color: #9fc6ee; }
.slmsam2-failed { background: #4a0410; border-radius: 4px; color: #ffd3d3; }
.slmsam2-unsupported { font-size: 13px; line-height: 18px; margin: 4px; padding: 6px 8px; }
.slmsam2-standing { flex: 0 1 auto; margin-left: 8px; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.slmsam2-reviewed { flex: 1 1 auto; max-height: 116px; min-width: 0; overflow-wrap: anywhere; overflow-y: auto; }
.slmsam2-flagged { color: #ffd27a; }
.slmsam2-approved { color: #8fe3a9; }
.slmsam2-review { margin-top: 6px; }
.slmsam2-review input { margin-bottom: 6px; width: 100%; }
.slmsam2-strip { background: #090c29; cursor: pointer; display: block; height: 48px; margin-bottom: 6px; width: 100%; }

[data-cy="slmsam2-btn"] svg { background: currentColor; mask: ${slicesIcon} center / contain no-repeat; }
[data-cy="slmsam2-btn"] svg > * { display: none; }
`;

export function addStyle() {
  if (document.getElementById(ID)) return;
  document.head.append(Object.assign(document.createElement('style'), { id: ID, textContent: STYLE }));
}
